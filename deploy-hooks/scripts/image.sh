# shellcheck shell=sh
# From the deployment repository to a verified image on this box. Everything is read from the git objects of HEAD,
# never from the work tree: a local change, a symbolic link or half a checkout there cannot get in between.
# shellcheck disable=SC2034,SC2154,SC2015 # shared variables; "a && b || c": c for either

git_here() { git --git-dir="$gitdir" "$@" 9>&-; }

in_repo() { if [ "$(conf path_in_repo)" = . ]; then printf '%s' "$1"; else printf '%s/%s' "$(conf path_in_repo)" "$1"; fi; }

# extract PATH TO: the bytes of a regular file of HEAD.
extract() {
	entry=$(git_here ls-tree HEAD -- "$1")
	case $entry in
	100644\ blob\ * | 100755\ blob\ *) ;;
	'')
		why="there is no file '$1'"
		return 1
		;;
	*)
		why="'$1' is not a regular file"
		return 1
		;;
	esac
	git_here cat-file blob "HEAD:$1" >"$2" 2>/dev/null && return
	why="cannot copy '$1' out of the repository (is the disk full?)"
	return 2
}

# --- signatures: where keys are pinned (public.keys, one a line), nothing is believed that is not signed by one of them

# Also where the file was emptied, by an accident: nothing is good then.
pinned() { [ -e "$slip/public.keys" ]; }

keys_id() { ! pinned || sha256_of "$slip/public.keys"; }

# signed FILE SIGNATURE COMMIT: both are here; the signature is good and says that it is for this path and commit. Sets
# sequence, the publication's number.
signed() {
	comment=
	# As minisign tells it: it ends a line at a carriage return, and what a file has behind one is not signed.
	while read -r key && [ -z "$comment" ]; do
		comment=$(minisign -V -Q -P "$key" -m "$1" -x "$2" 2>/dev/null </dev/null) || comment=
	done <"$slip/public.keys"
	[ -n "$comment" ] || {
		why="'${1##*/}' has no good signature by a key that is pinned here"
		return 1
	}
	for word in "path=$(conf path_in_repo)" "commit=$3"; do
		case " $comment " in *" $word "*) ;; *)
			why="the signature of '${1##*/}' is not for $word: $comment"
			return 1
			;;
		esac
	done
	sequence=${comment##*sequence=}
	case $sequence in '' | *[!0-9]* | ????????????????*)
		why="the signature of '${1##*/}' has no sequence number"
		return 1
		;;
	esac
}

# The pointer is signed, and not an older one put back. What is here is never newer than what was seen.
latest_signed() {
	printf '%s\n' "$1" >"$slip/run/latest" && extract "$(in_repo latest.minisig)" "$slip/run/latest.minisig" &&
		signed "$slip/run/latest" "$slip/run/latest.minisig" "$1" || return
	seen=$(state seen sequence)
	# Each path counts for itself.
	case $(state seen path) in '' | "$(conf path_in_repo)") ;; *) seen=0 ;; esac
	[ "$sequence" -ge "${seen:-0}" ] || {
		why="'$(in_repo latest)' is publication $sequence, and $seen was seen here before: somebody put an older one back"
		return 1
	}
	[ "$sequence" = "$seen" ] || printf 'sequence=%s\npath=%s\n' "$sequence" "$(conf path_in_repo)" | write_state seen || unwritten seen
}

# The commit that `latest` names. 1 and why: it is malformed, or not signed. 3: there is none yet.
latest_commit() {
	git_here rev-parse -q --verify HEAD >/dev/null 2>&1 || return 3
	[ -n "$(git_here ls-tree HEAD -- "$(in_repo latest)")" ] || return 3
	# The x keeps trailing newlines: 40 digits and one newline, nothing else.
	case $(git_here ls-tree HEAD -- "$(in_repo latest)") in
	100644\ blob\ * | 100755\ blob\ *) text=$(git_here cat-file blob "HEAD:$(in_repo latest)" 2>/dev/null | head -c 100 && echo x) ;;
	*) text=x ;;
	esac
	latest=${text%?x}
	if ! is_commit "$latest" || [ "$text" != "$latest
x" ]; then
		why="'$(in_repo latest)' is not 40 hex digits and a newline"
		return 1
	fi
	! pinned || latest_signed "$latest" || return
	printf '%s' "$latest"
}

sha256_of() {
	if command -v sha256sum >/dev/null 2>&1; then sha256sum; else openssl dgst -sha256 -r; fi <"$1" | cut -d ' ' -f 1
}

# manifest KEY: from the flattened manifest of the image at hand.
manifest() { awk -F '\t' -v key="$1" '$1 == key { print substr($0, length(key) + 2); exit }' "$fetch/flat"; }

is_name() {
	case $1 in '' | .* | -* | *[!A-Za-z0-9._+@-]*) return 1 ;; esac
	[ "$1" != manifest.json ]
}

# manifest_read NAME COMMIT: the manifest of that name, signed where keys are pinned, flattened.
manifest_read() {
	extract "$source/$1" "$fetch/manifest.json" || return
	! pinned || { extract "$source/$1.minisig" "$fetch/manifest.json.minisig" &&
		signed "$fetch/manifest.json" "$fetch/manifest.json.minisig" "$2"; } || return
	LC_ALL=C awk -f "$here/json.awk" "$fetch/manifest.json" >"$fetch/flat" && return
	why="'$source/$1' is not JSON"
	return 1
}

# Refuses an image by its manifest alone.
manifest_check() {
	commit=$1
	want=$(conf arch)
	[ "$want" != auto ] || want=$(box_arch)
	manifest_read manifest.json "$commit" || return
	# Two cells may share the folder; manifest.json is that of one of them.
	cell=manifest-$(conf driver)-$want.json
	if [ "$(manifest backend)-$(manifest arch)" != "$(conf driver)-$want" ] &&
		[ -n "$(git_here ls-tree HEAD -- "$source/$cell")" ]; then
		manifest_read "$cell" "$commit" || return
	fi
	# The one that moved `latest` here has its number; one before it, with its good signature of then, was put back.
	! pinned || [ "$how" = rollback ] || [ "$(manifest latest)" != true ] || [ "$sequence" -ge "$(state seen sequence)" ] ||
		why="the manifest is of publication $sequence, 'latest' of a later one: somebody put an older one back"
	[ "$(manifest format)" = slipway-manifest-1 ] || why="the manifest's format is '$(manifest format)', not slipway-manifest-1"
	[ "$(manifest commit)" = "$commit" ] || why="the manifest is of commit '$(manifest commit)'"
	[ "$(manifest path)" = "$(conf path_in_repo)" ] || why="the manifest is for path '$(manifest path)', not '$(conf path_in_repo)'"
	image=$(manifest image) packed=$(manifest packed)
	is_name "$image" && is_name "$packed" || why="the manifest names no image"
	case $(manifest packing):$packed in bzip2:*.bz2 | xz:*.xz | zstd:*.zst | none:*) ;; *) why="the image is packed by '$(manifest packing)'" ;; esac
	case $(manifest backend) in '' | "$(conf driver)") ;; *) why="it is an image for $(manifest backend), this is $(conf driver)" ;; esac
	[ "$(manifest arch)" = "$want" ] || why="it is an image for $(manifest arch), this box takes $want"
	for number in image_size packed_size; do
		case $(manifest $number) in '' | *[!0-9]*) why="the manifest's $number is '$(manifest $number)'" ;; esac
	done
	[ -z "$why" ]
}

room_check() {
	room=$(df -Pk "$slip" | awk 'NR == 2 { print $4 }')
	need=$((($(manifest image_size) + $(manifest packed_size)) / 1024 + 1024))
	[ "$room" -ge "$need" ] && return
	why="no room: $need kB are needed, $room kB are free"
	return 2
}

# fetch_file NAME SHA256 SIZE: from the commit's folder into $fetch.
fetch_file() {
	extract "$source/$1" "$fetch/$1" || return
	[ "$(sha256_of "$fetch/$1")" = "$2" ] && return
	why="'$1' has not the SHA-256 of its manifest"
	has=$(wc -c <"$fetch/$1")
	[ "$has" -eq "$3" ] || why="'$1' has $has bytes, $3 by its manifest"
	return 1
}

# The bytes an ELF file says it is for, against what the manifest says.
machine_check() {
	[ "$(od -An -tx1 -N4 "$1" | tr -d ' \n')" = 7f454c46 ] || return 0
	machine=$(od -An -tx1 -j18 -N2 "$1" | tr -d ' \n')
	case $(manifest arch):$machine in
	amd64:3e00 | amd64:0300 | arm64:b700 | armhf:2800 | i386:0300) return 0 ;;
	amd64:* | arm64:* | armhf:* | i386:*) ;;
	*) return 0 ;;
	esac
	why="the image's ELF machine ($machine) is not $(manifest arch)"
	return 1
}

unpack() {
	case $(manifest packing) in xz) tool=unxz ;; zstd) tool=unzstd ;; *) tool=bunzip2 ;; esac
	if [ "$(manifest packing)" != none ] && ! command -v $tool >/dev/null 2>&1; then
		why="'$packed' needs the program '$tool', which is not installed here"
		return 2
	elif [ "$(manifest packing)" = none ]; then
		[ "$packed" = "$image" ] || mv "$fetch/$packed" "$fetch/$image"
	elif ! (ulimit -f $(($(manifest image_size) / 512 + 2)) && $tool -c "$fetch/$packed" >"$fetch/$image") 2>/dev/null; then
		# A damaged file, or a larger one than announced, is the image's fault; a full disk is not.
		why="'$packed' cannot be unpacked"
		$tool -t "$fetch/$packed" 2>/dev/null || return 1
		[ "$(wc -c <"$fetch/$image")" -lt "$(manifest image_size)" ] || return 1
		why="'$packed' cannot be unpacked here (is the disk full?)"
		return 2
	fi
	[ "$packed" = "$image" ] || rm -f "$fetch/$packed"
	[ "$(sha256_of "$fetch/$image")" = "$(manifest image_sha256)" ] && return
	why="'$image' has not the SHA-256 of its manifest"
	return 1
}

fetch_others() {
	n=0
	while other=$(manifest "files.$n.name") && [ -n "$other" ]; do
		is_name "$other" && [ "$other" != "$image" ] && [ "$other" != flat ] || {
			why="'$other' is no file name"
			return 1
		}
		fetch_file "$other" "$(manifest "files.$n.sha256")" "$(manifest "files.$n.size")" || return
		n=$((n + 1))
	done
}

# published_id COMMIT: what is published under that name, as one word: the manifest, its signature and the image; where
# there is no manifest, all of it.
published_id() {
	cell=manifest-$(conf driver)-$(if [ "$(conf arch)" = auto ]; then box_arch; else conf arch; fi).json
	packed=$(git_here cat-file blob "HEAD:$(in_repo "$1")/manifest.json" 2>/dev/null | LC_ALL=C awk -f "$here/json.awk" 2>/dev/null | sed -n 's/^packed	//p')
	git_here ls-tree HEAD -- "$(in_repo "$1")/" 2>/dev/null | awk -F '\t' -v cell="$cell" -v packed="$packed" '
		{ n = split($2, at, "/"); name = at[n]; sub(/\.minisig$/, "", name); all = all $0 "\n" }
		name == "manifest.json" || name == cell || name == packed { own = own $0 "\n" }
		END { printf "%s", own == "" ? all : own }' | git_here hash-object --stdin
}

# hold_lapse COMMIT: what it was held for may be mended: something else is published there now. A hold by hand stays.
hold_lapse() {
	was=$(state "held/$1" published)
	[ -n "$was" ] && [ "$was" != "$(published_id "$1")" ] || return 0
	say "$(short "$1") is published anew since it was held: it is tried again"
	remember released "$1" "published anew" || return
	rm -rf "${slip:?}/images/$1"
	rm -f "$slip/state/held/$1" "$slip/state/held/$1.console"
}

# fetch_image COMMIT: images/COMMIT holds the verified, unpacked image; sets image to its path.
fetch_image() {
	why=''
	fetch=$slip/images/new.$$
	source=$(in_repo "$1")
	rm -rf "$slip"/images/new.*
	mkdir -p "$fetch" 2>/dev/null || {
		why="cannot make '$fetch' (is the disk full?)"
		return 2
	}
	seed=
	if is_seed; then
		seed=1
		seed_fetch "$1"
	else
		manifest_check "$1" && room_check &&
			fetch_file "$packed" "$(manifest packed_sha256)" "$(manifest packed_size)" && unpack &&
			machine_check "$fetch/$image" && fetch_others
	fi || {
		code=$?
		rm -rf "$fetch"
		return $code
	}
	chmod 755 "$slip/images" "$fetch" "$fetch/$image"
	sha=$(manifest image_sha256) size=$(manifest image_size) image=$slip/images/$1/$image
	[ "$(manifest arch)" = "$(box_arch)" ] || say "$(short "$1"): for $(manifest arch), runs emulated"
	printf 'image=%s\nsha256=%s\nseed=%s\nkeys=%s\n' "${image##*/}" "$sha" "$seed" "$(keys_id)" >"$fetch/record" && sync_file "$fetch"/* && rm -f "$fetch/flat" &&
		rm -rf "${slip:?}/images/$1" && mv "$fetch" "$slip/images/$1" || {
		why="cannot write '$slip/images/$1' (is the disk full?)"
		return 2
	}
	sync_file "$slip/images"
}

# kept_image COMMIT: the path of an image that is here already, whole; nothing where it is not.
kept_image() {
	record=$slip/images/$1/record
	[ -f "$record" ] || return 1
	image=$slip/images/$1/$(sed -n 's/^image=//p' "$record")
	[ -f "$image" ] && [ "$(sha256_of "$image")" = "$(sed -n 's/^sha256=//p' "$record")" ]
}

# kept_signed COMMIT: as kept_image, and by the keys that are pinned now: an image may be older than they are.
kept_signed() { kept_image "$1" && { ! pinned || [ "$(sed -n 's/^keys=//p' "$record")" = "$(keys_id)" ]; }; }

# Keeps the running image, the one before it, and the newest `keep`.
images_prune() {
	# shellcheck disable=SC2012 # names are 40 hex digits
	ls -1t "$slip/images" 2>/dev/null | {
		n=0
		while read -r commit; do
			n=$((n + 1))
			is_commit "$commit" || continue
			[ $n -gt "$(conf keep)" ] || continue
			[ "$commit" != "$(state current commit)" ] && [ "$commit" != "$(state current previous)" ] || continue
			rm -rf "${slip:?}/images/$commit" "$slip/run/$commit.trial" "$slip/run/$commit.live" "$slip/run/$commit.console"
		done
	}
}
