# shellcheck shell=sh
# compat=seed: images as the build scripts of 2014 to 2017 laid them out, with no manifest and no signature:
#
#   latest               or xen/latest            40 hex digits and a newline
#   <commit>/            or xen/<commit>/         config.ml, NAME.xen.bz2 and what else there was
#
# A folder with a manifest is taken as any other. What can be checked is: the objects by git, bzip2's checksum, the ELF
# header. What cannot is said at each deploy and by `status`.
# shellcheck disable=SC2034,SC2154,SC2015 # shared variables; "a && b || c": c for either

SEED_MAX_KB=524288 # unpacked; nothing announces the size

is_seed() { [ "$(conf compat)" = seed ] && ! pinned && [ -z "$(git_here ls-tree HEAD -- "$source/manifest.json")" ]; }

# seed_names: the regular files of the folder, of a name that can be one here.
seed_names() {
	git_here ls-tree HEAD -- "$source/" | sed -n 's,^100[67][45][45] blob [0-9a-f]*	.*/\([^/]*\)$,\1,p; s,^100[67][45][45] blob [0-9a-f]*	\([^/]*\)$,\1,p' |
		while read -r other; do ! is_name "$other" || printf '%s\n' "$other"; done
}

# seed_image: sets packed and image. The one *.xen.bz2 or *.xen, else the one *.bz2 that is no disk.
seed_image() {
	packed=$(seed_names | grep -E '\.xen(\.bz2)?$')
	[ -n "$packed" ] || packed=$(seed_names | grep '\.bz2$' | grep -v '\.img\.bz2$')
	case $packed in
	'') why="there is no image (NAME.xen.bz2) in '$source'" ;;
	*'
'*) why="which one of $(printf '%s' "$packed" | tr '\n' ' ') in '$source' is the image?" ;;
	esac
	image=${packed%.bz2}
	[ -z "$why" ]
}

# seed_unpack PACKED TO: where PACKED is packed; the rest is copied already.
seed_unpack() {
	case $1 in *.bz2) ;; *) return 0 ;; esac
	bunzip2 -t "$fetch/$1" 2>/dev/null || {
		why="'$1' is damaged: it cannot be unpacked"
		return 1
	}
	(ulimit -f $((SEED_MAX_KB * 2)) && bunzip2 -c "$fetch/$1" >"$fetch/$2") 2>/dev/null || {
		why="'$1' cannot be unpacked here (is the disk full, or is it larger than $SEED_MAX_KB kB?)"
		return 2
	}
	rm -f "$fetch/$1"
}

# seed_arch FILE: what its first bytes say; nothing where they say nothing.
seed_arch() {
	case $(od -An -tx1 -N4 "$1" | tr -d ' \n'):$(od -An -tx1 -j18 -N2 "$1" | tr -d ' \n'):$(od -An -tx1 -j36 -N4 "$1" | tr -d ' \n') in
	7f454c46:3e00:*) echo amd64 ;;
	7f454c46:0300:*) echo i386 ;;
	7f454c46:b700:*) echo arm64 ;;
	7f454c46:2800:* | *:18286f01) echo armhf ;; # the last is a zImage's mark
	esac
}

seed_fetch() {
	seed_image || return
	packed_kb=$(($(git_here cat-file -s "HEAD:$source/$packed" 2>/dev/null || echo 0) / 1024))
	room=$(df -Pk "$slip" | awk 'NR == 2 { print $4 }')
	[ "$room" -ge $((packed_kb * 5 + 1024)) ] || {
		why="no room: about $((packed_kb * 5 + 1024)) kB are needed, $room kB are free"
		return 2
	}
	extract "$source/$packed" "$fetch/$packed" && seed_unpack "$packed" "$image" || return
	arch=$(seed_arch "$fetch/$image")
	want=$(conf arch)
	[ "$want" != auto ] || want=$(box_arch)
	case $want:$arch in
	*:) why="'$image' is neither an ELF file nor an ARM zImage" ;;
	"$arch:$want" | amd64:i386) ;;
	*) why="it is an image for $arch, this box takes $want" ;;
	esac
	[ -z "$why" ] || return 1
	for other in $(seed_names); do
		[ "$other" != "$packed" ] || continue
		[ "$other" != "$image" ] && [ "$other" != flat ] && [ "$other" != record ] || continue
		extract "$source/$other" "$fetch/$other" || return
		case $other in *.img.bz2) seed_unpack "$other" "${other%.bz2}" || return ;; esac
	done
	printf 'image_sha256\t%s\nimage_size\t%s\narch\t%s\n' "$(sha256_of "$fetch/$image")" "$(wc -c <"$fetch/$image" | tr -d ' ')" "$want" >"$fetch/flat"
	say "$(short "$1") has no manifest (compat=seed): git's objects, bzip2's checksum and the header of '$image' are right;" \
		"who built it, from what, and for which backend is not known"
}
