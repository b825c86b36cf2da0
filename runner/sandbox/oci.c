/* config.json. The user and network namespaces are the box's: crun is already in them, so neither is named here. */
#include "runner/sandbox/oci.h"

#include <sodium.h>
#include <string.h>

#include "lib/json.h"

/* What package managers and build tools do as root of their own files; nothing that reaches beyond the container:
 *   CHOWN FOWNER FSETID DAC_OVERRIDE  unpack archives with owners and modes, work in other users' folders
 *   SETUID SETGID                     su, apt's and databases' own users
 *   SETFCAP                           packages that carry file capabilities
 *   KILL                              end the processes of such users */
static const char *const capabilities[] = {"CAP_CHOWN",  "CAP_DAC_OVERRIDE", "CAP_FOWNER",  "CAP_FSETID",
					   "CAP_SETUID", "CAP_SETGID",       "CAP_SETFCAP", "CAP_KILL"};

static const char *const masked[] = {"/proc/acpi",       "/proc/asound",      "/proc/interrupts",
				     "/proc/kcore",      "/proc/keys",        "/proc/latency_stats",
				     "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug",
				     "/proc/scsi",       "/sys/firmware",     "/sys/devices/virtual/powercap"};
static const char *const read_only[] = {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"};

/* Each with options, one string for all. */
static const struct mount {
	const char *destination, *type, *source, *options;
} mounts[] = {
	{"/proc", "proc", "proc", "nosuid,noexec,nodev"},
	{"/dev", "tmpfs", "tmpfs", "nosuid,strictatime,mode=755,size=65536k"},
	{"/dev/pts", "devpts", "devpts", "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5"},
	{"/dev/shm", "tmpfs", "shm", "nosuid,noexec,nodev,mode=1777,size=65536k"},
	{"/dev/mqueue", "mqueue", "mqueue", "nosuid,noexec,nodev"},
	{"/sys", "sysfs", "sysfs", "nosuid,noexec,nodev,ro"},
};

static json_t *strings(const char *const *items, size_t n)
{
	json_t *list = json_array();

	for (size_t i = 0; i < n; i++) json_array_append_new(list, json_string(items[i]));
	return list;
}

static json_t *split(const char *options)
{
	json_t *list = json_array();

	for (const char *p = options; *p;) {
		size_t len = strcspn(p, ",");

		json_array_append_new(list, json_stringn(p, len));
		p += len + (p[len] == ',');
	}
	return list;
}

static json_t *mount_json(const char *destination, const char *type, const char *source, const char *options)
{
	return json_pack("{s:s, s:s, s:s, s:o}", "destination", destination, "type", type, "source", source, "options",
			 split(options));
}

static json_t *mount_list(const struct oci_opts *o)
{
	json_t *list = json_array();

	for (size_t i = 0; i < ARRAY_LEN(mounts); i++)
		json_array_append_new(
			list, mount_json(mounts[i].destination, mounts[i].type, mounts[i].source, mounts[i].options));
	json_array_append_new(list, mount_json(OCI_INIT_PATH, "bind", o->init, "bind,ro,nosuid,nodev"));
	return list;
}

static json_t *rlimit_list(const struct oci_opts *o)
{
	json_t *list = json_array();

	for (size_t i = 0; i < o->nrlimits; i++) {
		const struct oci_rlimit *l = &o->rlimits[i];
		uint64_t value = l->want < l->hard ? l->want : l->hard;

		/* RLIM_INFINITY does not fit JSON's signed numbers and is what is inherited then anyway. */
		if (value > INT64_MAX) continue;
		json_array_append_new(list, json_pack("{s:s, s:I, s:I}", "type", l->type, "soft", (json_int_t)value,
						      "hard", (json_int_t)value));
	}
	return list;
}

static json_t *process_json(const struct oci_opts *o)
{
	json_t *caps = json_object();
	const char *const sets[] = {"bounding", "effective", "permitted"};

	for (size_t i = 0; i < ARRAY_LEN(sets); i++)
		json_object_set_new(caps, sets[i], strings(capabilities, ARRAY_LEN(capabilities)));
	return json_pack("{s:b, s:{s:i, s:i}, s:[s], s:[s], s:s, s:o, s:o, s:b, s:i}", "terminal", 0, "user", "uid", 0,
			 "gid", 0, "args", OCI_INIT_PATH, "env", "PATH=/bin", "cwd", "/", "capabilities", caps,
			 "rlimits", rlimit_list(o), "noNewPrivileges", 1, "oomScoreAdj", 500);
}

static json_t *linux_json(void)
{
	const char *const namespaces[] = {"pid", "mount", "ipc", "uts", "cgroup"};
	json_t *list = json_array();

	for (size_t i = 0; i < ARRAY_LEN(namespaces); i++)
		json_array_append_new(list, json_pack("{s:s}", "type", namespaces[i]));
	return json_pack("{s:o, s:o, s:o}", "namespaces", list, "maskedPaths", strings(masked, ARRAY_LEN(masked)),
			 "readonlyPaths", strings(read_only, ARRAY_LEN(read_only)));
}

char *oci_config(const struct oci_opts *o)
{
	size_t room = sodium_base64_encoded_len(o->bpf->len, sodium_base64_VARIANT_ORIGINAL);
	_cleanup_free_ char *filter = xmalloc(room);
	_cleanup_json_ json_t *config = NULL;

	sodium_bin2base64(filter, room, (const unsigned char *)o->bpf->data, o->bpf->len,
			  sodium_base64_VARIANT_ORIGINAL);
	config =
		json_pack("{s:s, s:{s:s, s:b}, s:s, s:{s:s}, s:o, s:o, s:o}", "ociVersion", "1.0.2", "root", "path",
			  o->rootfs, "readonly", 0, "hostname", OCI_HOSTNAME, "annotations", "run.oci.seccomp_bpf_data",
			  filter, "mounts", mount_list(o), "process", process_json(o), "linux", linux_json());
	if (!config) die("config.json");
	return json_text(config);
}
