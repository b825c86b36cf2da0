/* Texts of the kernel and of Debian that the doctor reads: mountinfo, cgroup, subuid, binfmt_misc, versions. The first
 * line of the input is what /proc/self/cgroup and the controllers say, the rest all the other texts. */
#include <stdint.h>
#include <string.h>

#include "runner/sandbox/doctor_rows.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int half(const char *path, void *arg)
{
	(void)arg;
	return strlen(path) & 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *text = xstrndup((const char *)data, size), *first = xstrndup(text, strcspn(text, "\n"));
	struct finding cgroups = {0}, delegation = {0}, subids = {0};
	const char *why;
	char version[32];

	doctor_judge_cgroups(text, first, first, &cgroups);
	doctor_judge_delegation(text, 1000, 1000, half, NULL, &delegation);
	doctor_judge_subids(text, first, "kim", 1000, &subids);
	(void)host_binfmt_check(text, &why);
	(void)host_version_at_least(text, 1, 2, version);
	finding_release(&cgroups);
	finding_release(&delegation);
	finding_release(&subids);
	return 0;
}
