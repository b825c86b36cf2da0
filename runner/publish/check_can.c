/* What a boot proof needs on this host: asked by the job's leader too, so nothing of the proof itself is in here. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/fs.h"
#include "runner/publish/check_parts.h"

static const char folders[] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

int machine_is_solo5(const struct plan_check *c)
{
	return c->boot == BOOT_SOLO5_SPT || c->boot == BOOT_SOLO5_HVT;
}

int machine_is(const struct plan_check *c)
{
	return c->boot == BOOT_QEMU || machine_is_solo5(c);
}

const char *machine_program(const struct plan_check *c)
{
	return machine_is_solo5(c) ? plan_boot_name(c->boot) : MACHINE_QEMU;
}

static int is_there(const char *name)
{
	for (const char *p = folders; *p;) {
		size_t n = strcspn(p, ":");
		_cleanup_free_ char *full = xasprintf("%.*s/%s", (int)n, p, name);

		if (!access(full, X_OK)) return 1;
		p += n + (p[n] == ':');
	}
	return 0;
}

int check_can(const struct plan_check *c, struct err *e)
{
	const char *const needed[] = {machine_program(c), machine_is_solo5(c) ? MACHINE_ELFTOOL : NULL};

	if (!machine_is(c)) return 0;
	for (size_t i = 0; i < ARRAY_LEN(needed) && needed[i]; i++) {
		if (is_there(needed[i])) continue;
		return err_set(e, ERR_MISSING,
			       "boot proof '%s' needs '%s', which is not installed on the runner's box: %s",
			       plan_boot_name(c->boot), needed[i],
			       machine_is_solo5(c)
				       ? "it is no Debian package; build Solo5 from https://github.com/Solo5/solo5 "
					 "and install its programs in /usr/local/bin"
				       : "apt-get install qemu-system-x86");
	}
	if (c->boot == BOOT_SOLO5_HVT && access("/dev/kvm", R_OK | W_OK))
		return err_sys(e, "boot proof 'solo5-hvt' needs '/dev/kvm'");
	return 0;
}
