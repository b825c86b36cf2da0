/* Files the script made, out of the box. Names and bytes are a stranger's: nothing is kept executable on this box (the
 * mode travels beside the bytes), and what could not be published under its own name is refused here, where the script
 * can still be blamed for it. */
#include <ctype.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/fs.h"
#include "lib/json.h"
#include "runner/job.h"
#include "runner/plan/config.h"
#include "runner/publish/elfnote.h"

static const int64_t default_most_bytes = (int64_t)1 << 30;

struct taking {
	struct job *job;
	const char *to; /* folder */
	int to_out;     /* it is the one that job->out_files lie in */
	int64_t most_bytes;
	int listed;  /* in job->out_files too */
	char *first; /* match */
};

/* SLIPWAY_MAX_ARTIFACTS */
static int most_bytes(int64_t *most_r, struct err *e)
{
	const char *set = getenv("SLIPWAY_MAX_ARTIFACTS"), *why = set && *set ? bad_size(set, most_r) : NULL;

	if (!set || !*set) *most_r = default_most_bytes;
	return why ? err_set(e, ERR_INPUT, "SLIPWAY_MAX_ARTIFACTS '%s': %s", set, why) : 0;
}

static int check_name(const char *path, struct err *e)
{
	_cleanup_json_ json_t *probe = json_string(path);
	_cleanup_free_ char *clean = xstrdup(path);
	int odd = 0;

	for (char *p = clean; *p; p++) {
		if (iscntrl((unsigned char)*p)) odd = 1;
		if (iscntrl((unsigned char)*p) || (!probe && (unsigned char)*p > 126)) *p = '?';
	}
	if (!probe) return err_set(e, ERR_INPUT, "the file name '%s' holds bytes that are not UTF-8", clean);
	if (odd) return err_set(e, ERR_INPUT, "the file name '%s' holds a control character", clean);
	return 0;
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* All go to one folder of the deployment repository. */
static int list_file(struct job *j, const char *path, unsigned mode, struct err *e)
{
	for (size_t i = 0; i < j->nout_files; i++)
		if (!strcmp(base_name(j->out_files[i].path), base_name(path)))
			return err_set(e, ERR_INPUT, "two files to publish have one name: '%s' and '%s'",
				       j->out_files[i].path, path);
	j->out_files = xrealloc(j->out_files, (j->nout_files + 1) * sizeof(*j->out_files));
	j->out_files[j->nout_files++] = (struct job_file){.path = xstrdup(path), .mode = mode & 0777};
	return 0;
}

static int is_listed(const struct job *j, const char *path)
{
	for (size_t i = 0; i < j->nout_files; i++)
		if (!strcmp(j->out_files[i].path, path)) return 1;
	return 0;
}

static int copy_file(const struct taking *t, const char *path, int fd, uint64_t size, struct err *e)
{
	_cleanup_free_ char *to = xasprintf("%s/%s", t->to, path);
	char *slash = strrchr(to, '/');
	_cleanup_close_ int out = -1;
	uint64_t bytes;

	*slash = '\0';
	if (fs_mkdirs(to, 0700, e)) return -1;
	*slash = '/';
	out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (out < 0) return err_sys(e, "cannot create '%s'", to);
	if (fs_copy_fd(fd, out, path, &bytes, e)) return -1;
	return bytes == size ? 0 : err_set(e, ERR_INPUT, "'%s' changed while it was read", path);
}

/* A program for another processor boots nowhere it is deployed to; what is no ELF file is left alone. */
static int check_machine(const struct job *j, const char *path, int fd, struct err *e)
{
	const char *arch = j->spec.arch ? j->spec.arch : image_host_arch(), *elf;
	char head[20];
	ssize_t n = pread(fd, head, sizeof(head), 0);

	if (n < 0) return err_sys(e, "cannot read '%s'", path);
	elf = elf_arch(head, (size_t)n);
	if (!elf || elf_fits(elf, arch)) return 0;
	return err_set(e, ERR_INPUT, "'%s' is a program for %s, and this job is for %s", path, elf, arch);
}

static int take_file(void *arg, const char *path, int fd, unsigned mode, uint64_t size, struct err *e)
{
	struct taking *t = arg;
	struct job *j = t->job;

	if (check_name(path, e)) return -1;
	if (!t->first) t->first = xstrdup(path);
	if (t->to_out && is_listed(j, path)) return 0; /* an earlier pattern's */
	if (size > (uint64_t)(t->most_bytes - j->taken_bytes))
		return err_set(e, ERR_INPUT,
			       "the job's files are larger than %lld bytes together (SLIPWAY_MAX_ARTIFACTS), at '%s'",
			       (long long)t->most_bytes, path);
	j->taken_bytes += (int64_t)size;
	if (t->to_out && check_machine(j, path, fd, e)) return -1;
	if (copy_file(t, path, fd, size, e)) return -1;
	return t->listed ? list_file(j, path, mode, e) : 0;
}

/* Of an earlier attempt. It is made again by the first file. */
static int no_folder(struct job *j, const char *name, char **path_r, struct err *e)
{
	*path_r = xasprintf("%s/%s", j->dir, name);
	return fs_remove_tree(*path_r, e);
}

/* first_r, may be NULL: the first match; caller frees. In `out` there must be one. */
static int take(struct taking *t, const char *glob, char **first_r, struct err *e)
{
	struct job *j = t->job;
	int failed = most_bytes(&t->most_bytes, e) || sandbox_collect(j->box, "/build", glob, take_file, t, e);
	_cleanup_free_ char *first = steal(t->first);

	if (failed) return -1;
	if (!first && t->to_out) return err_set(e, ERR_MISSING, "the script left no file that matches '%s'", glob);
	if (!first) log_line(j->log, "slipway: no artifact matches '%s'", glob);
	if (first_r) *first_r = steal(first);
	return 0;
}

/* What the boot proof boots: check.file, else the very file that is published as the image. */
static int take_boot_file(struct job *j, const char *out, struct err *e)
{
	struct taking t = {.job = j, .to = out, .to_out = 1};
	const struct plan_publish *p = &j->spec.publish;
	const struct plan_check *c = &j->spec.check;

	if (c->file) return take(&t, c->file, &j->boot_file, e);
	if (j->nout_files) j->boot_file = xstrdup(j->out_files[0].path);
	if (j->boot_file) return 0;
	if (p->files.len) return take(&t, p->files.items[0], &j->boot_file, e);
	return err_set(e, ERR_INPUT, "'check' has no file to boot");
}

int job_collect(struct job *j, struct err *e)
{
	_cleanup_free_ char *artifacts = NULL, *out = NULL;
	const struct plan_publish *p = &j->spec.publish;

	if (no_folder(j, "artifacts", &artifacts, e) || no_folder(j, "out", &out, e)) return -1;
	for (size_t i = 0; i < j->spec.artifacts.len; i++) {
		struct taking t = {.job = j, .to = artifacts};

		if (take(&t, j->spec.artifacts.items[i], NULL, e)) return -1;
	}
	for (size_t i = 0; i < p->files.len && p->repo; i++) {
		struct taking t = {.job = j, .to = out, .to_out = 1, .listed = 1};

		if (take(&t, p->files.items[i], NULL, e)) return -1;
	}
	return j->spec.check.boot == BOOT_NONE ? 0 : take_boot_file(j, out, e);
}

void job_files_release(struct job *j)
{
	for (size_t i = 0; i < j->nout_files; i++) free(j->out_files[i].path);
	free(j->out_files);
	j->out_files = NULL;
	j->nout_files = 0;
	free_p(&j->boot_file);
}
