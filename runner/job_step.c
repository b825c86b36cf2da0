/* What a leader runs beside the container: the image, the boot proof, the publisher. Each is a process of its own
 * whose output goes to the job's log, so that the leader can be told to stop at any time. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/child.h"
#include "lib/fs.h"
#include "runner/deploypath.h"
#include "runner/images.h"
#include "runner/job.h"
#include "runner/plan/imageref.h"
#include "runner/publish/check.h"
#include "runner/publish/publish.h"

enum {
	RESULT_FD = 3,
	SECRETS_FD = 4,     /* of the publisher */
	SAY_EVERY_MS = 200, /* each is a synced row; a console can be fast */
	EOF_GRACE_MS = 3000,
	CONSOLE_MAX_BYTES = 4 << 20,
	MAKE_TRIES = 3,
};

void job_says(struct job *j, const char *fmt, ...)
{
	_cleanup_buf_ struct buf line = BUF_INIT(400);
	struct err ignored; /* only for people who watch */
	va_list ap;

	va_start(ap, fmt);
	buf_vaddf(&line, fmt, ap);
	va_end(ap);
	if (store_job_step(j->store, j->row.id, j->row.attempt, buf_str(&line), &ignored)) return;
}

const char *job_runner(void)
{
	static char *path;

	if (!path) path = child_beside("slipway-runner");
	return path ? path : child_self();
}

/* One command under way: its output, its result, its end. */
struct step {
	struct job *job;
	const char *what;
	int out, result, pidfd;
	int open;              /* how many of the three are still to end */
	struct buf line, last; /* what it is just saying, and the last whole line */
	int64_t said_mono_ms;
	struct mask *mask; /* what people and rows get to see went through it */
	struct buf masked;
	struct buf *result_buf;
	struct child_status status;
	uint64_t grace;
};

static void one_less(struct step *s, int *fd)
{
	loop_fd_remove(s->job->loop, *fd);
	close_p(fd);
	if (--s->open == 0) loop_stop(s->job->loop);
}

/* Keeps the newest whole line that is not empty, for error messages and for who watches. */
static void note_lines(struct step *s, const char *data, size_t len)
{
	int fresh = 0;

	for (size_t i = 0; i < len; i++) {
		if (data[i] != '\n') {
			buf_addch(&s->line, data[i]);
			continue;
		}
		if (s->line.len) {
			buf_clear(&s->last);
			buf_add(&s->last, s->line.data, s->line.len);
			fresh = 1;
		}
		buf_clear(&s->line);
	}
	if (!fresh || clock_mono_ms() - s->said_mono_ms < SAY_EVERY_MS) return;
	s->said_mono_ms = clock_mono_ms();
	job_says(s->job, "%s: %s", s->what, buf_str(&s->last));
}

static void on_output(int fd, short revents, void *arg)
{
	struct step *s = arg;
	char chunk[65536];
	ssize_t n = read(fd, chunk, sizeof(chunk));
	struct err e;

	(void)revents;
	if (n < 0 && errno == EINTR) return;
	if (n <= 0) {
		one_less(s, &s->out);
		return;
	}
	mask_feed(s->mask, chunk, (size_t)n, &s->masked);
	note_lines(s, buf_str(&s->masked), s->masked.len);
	buf_clear(&s->masked);
	if (log_write(s->job->log, chunk, (size_t)n, &e)) s->job->log_error = e;
}

static void on_result(int fd, short revents, void *arg)
{
	struct step *s = arg;
	char chunk[4096];
	ssize_t n = read(fd, chunk, sizeof(chunk));

	(void)revents;
	if (n < 0 && errno == EINTR) return;
	if (n <= 0)
		one_less(s, &s->result);
	else if (s->result_buf)
		buf_add(s->result_buf, chunk, (size_t)n);
}

/* Whoever still holds the output after the end has left the session; it is not waited for. */
static void on_grace_over(void *arg)
{
	struct step *s = arg;

	s->grace = 0;
	if (s->out >= 0) one_less(s, &s->out);
	if (s->result >= 0) one_less(s, &s->result);
}

static void on_end(int fd, short revents, void *arg)
{
	struct step *s = arg;
	int ws;

	(void)fd;
	(void)revents;
	kill(-s->job->child, SIGKILL); /* what it left in its session; before it is reaped, while the id is its own */
	if (waitpid(s->job->child, &ws, 0) == s->job->child) s->status = child_decode(ws);
	s->job->child = 0;
	s->grace = loop_timer(s->job->loop, EOF_GRACE_MS, on_grace_over, s);
	one_less(s, &s->pidfd);
}

static void step_release(struct step *s)
{
	close_p(&s->out);
	close_p(&s->result);
	close_p(&s->pidfd);
	buf_release(&s->line);
	buf_release(&s->last);
	buf_release(&s->masked);
	mask_free(&s->mask);
	loop_timer_cancel(s->job->loop, s->grace);
}

/* secrets: one more descriptor for the child; -1: none */
static int step(struct job *j, const char *what, const char *const *argv, int secrets, struct buf *result_r,
		struct err *e)
{
	__attribute__((cleanup(step_release))) struct step s = {.job = j,
								.what = what,
								.out = -1,
								.result = -1,
								.pidfd = -1,
								.open = 3,
								.line = BUF_INIT(900),
								.last = BUF_INIT(900),
								.masked = BUF_INIT(1 << 20),
								.result_buf = result_r,
								.status = {CHILD_LOST, 0}};
	_cleanup_close_ int their_out = -1, their_result = -1;
	struct child_fd pass[2] = {{0}, {secrets, SECRETS_FD}};
	struct child_opts o = {
		.argv = argv, .setsid = 1, .die_with_parent = 1, .fds = pass, .nfds = secrets < 0 ? 1 : 2};
	int p[2], q[2];

	if (j->canceled || j->abandoned) return err_set(e, ERR_BUSY, "stopped");
	if (job_mask(j, &s.mask, e)) return -1;
	if (pipe2(p, O_CLOEXEC) || pipe2(q, O_CLOEXEC)) return err_sys(e, "cannot make a pipe");
	s.out = p[0];
	s.result = q[0];
	their_out = p[1];
	their_result = q[1];
	pass[0] = (struct child_fd){their_result, RESULT_FD};
	o.out = o.err = their_out;
	if (child_start(&o, &j->child, &s.pidfd, e)) return -1;
	close_p(&their_out);
	close_p(&their_result);
	loop_fd(j->loop, s.out, POLLIN, on_output, &s);
	loop_fd(j->loop, s.result, POLLIN, on_result, &s);
	loop_fd(j->loop, s.pidfd, POLLIN, on_end, &s);
	if (loop_run(j->loop, e)) return -1;
	mask_end(s.mask, &s.masked);
	note_lines(&s, buf_str(&s.masked), s.masked.len);
	if (j->canceled || j->abandoned) return err_set(e, ERR_BUSY, "stopped");
	if (child_ok(s.status)) return 0;
	return err_set(e, ERR_REMOTE, "%s %s%s%s", what, child_status_str(s.status), s.last.len ? ": " : "",
		       buf_str(&s.last));
}

int job_step(struct job *j, const char *what, const char *const *argv, struct buf *result_r, struct err *e)
{
	return step(j, what, argv, -1, result_r, e);
}

static int image_step(struct job *j, const struct images_choice *c, const char *const *options, struct buf *result_r,
		      struct err *e)
{
	_cleanup_vec_ struct vec argv = VEC_INIT;
	const struct job_spec *spec = &j->spec;

	vec_add_all(&argv, (const char *const[]){job_runner(), "image", NULL});
	if (spec->arch) vec_add_all(&argv, (const char *const[]){"--arch", spec->arch, NULL});
	if (c->anonymous) vec_add(&argv, "--anonymous");
	vec_add_all(&argv, options);
	vec_add(&argv, c->reference);
	return job_step(j, "image", (const char *const *)vec_argv(&argv), result_r, e);
}

/* The first job of a build that wants an image says for all of them which bytes that is. */
static int pin_image(struct job *j, struct images_choice *c, struct err *e)
{
	_cleanup_buf_ struct buf digest = BUF_INIT(200);

	if (c->pinned) return 0;
	if (imageref_may_change(c->reference)) {
		job_says(j, "image: looking for %s", c->reference);
		if (image_step(j, c, (const char *const[]){"--resolve", NULL}, &digest, e)) return -1;
	}
	return images_pin(j->store, j->row.build_id, j->spec.image, digest.len ? buf_str(&digest) : NULL, c, e);
}

int job_image(struct job *j, struct err *e)
{
	_cleanup_images_choice_ struct images_choice c = {0};
	_cleanup_buf_ struct buf packages = BUF_INIT(1 << 20);
	const struct job_spec *spec = &j->spec;
	const char *options[5] = {NULL};
	struct image_ask ask;
	size_t n = 0;
	int found;

	if (images_choose(&j->home, j->store, j->row.build_id, j->event.ev.from_fork, spec->image, &c, e) ||
	    pin_image(j, &c, e))
		return -1;
	ask = (struct image_ask){.cache = j->home.cache,
				 .name = c.reference,
				 .arch = spec->arch,
				 .packages = &spec->packages,
				 .pin = c.pin,
				 .anonymous = c.anonymous};
	if (strcmp(c.reference, spec->image) != 0)
		log_line(j->log, "slipway: the image %s is %s", spec->image, c.reference);
	found = image_find(&ask, &j->image, e);
	if (found <= 0) return found;
	job_says(j, "image: making %s", spec->image);
	for (size_t i = 0; i < spec->packages.len; i++)
		buf_addf(&packages, "%s%s", i ? "," : "", spec->packages.items[i]);
	if (packages.len) {
		options[n++] = "--packages";
		options[n++] = packages.data;
	}
	if (c.pin) {
		options[n++] = "--digest";
		options[n++] = c.pin;
	}
	/* Between its being made and its being held by us it may be evicted, where room is very short. */
	for (int tries = 0; found == 1 && tries < MAKE_TRIES; tries++) {
		if (image_step(j, &c, options, NULL, e)) return -1;
		found = image_find(&ask, &j->image, e);
	}
	return found > 0 ? err_set(e, ERR_MISSING, "the image '%s' is not there any more", spec->image) : found;
}

/* --- boot proof and publish --- */

/* What the image said, masked, in <dir>/console. */
static int keep_console(struct job *j, const struct buf *console, struct err *e)
{
	_cleanup_free_ char *path = xasprintf("%s/console", j->dir);
	_cleanup_buf_ struct buf masked = BUF_INIT(2 * CONSOLE_MAX_BYTES);
	struct mask *mask;

	if (job_mask(j, &mask, e)) return -1;
	mask_feed(mask, buf_str(console), console->len, &masked);
	mask_end(mask, &masked);
	mask_free(&mask);
	if (console->overflow)
		log_line(j->log, "slipway: the console is kept up to %d bytes only", (int)CONSOLE_MAX_BYTES);
	return fs_write_file(path, buf_str(&masked), masked.len, 0600, e);
}

int job_may_boot(const struct job *j, struct err *e)
{
	return j->spec.check.boot == BOOT_NONE ? 0 : check_can(&j->spec.check, e);
}

int job_check(struct job *j, struct err *e)
{
	_cleanup_free_ char *id = xasprintf("%lld", (long long)j->row.id);
	_cleanup_buf_ struct buf console = BUF_INIT(CONSOLE_MAX_BYTES);
	struct err late;
	int rc;

	if (j->spec.check.boot == BOOT_NONE) return 0;
	job_says(j, "boot proof: %s", plan_boot_name(j->spec.check.boot));
	log_line(j->log, "slipway: boot proof (%s)", plan_boot_name(j->spec.check.boot));
	rc = job_step(j, "boot proof",
		      (const char *const[]){job_runner(), "check", j->home.state, id, j->boot_file, NULL}, &console, e);
	if (!keep_console(j, &console, rc ? &late : e)) return rc;
	if (rc) log_line(j->log, "slipway: %s", late.text);
	return -1;
}

/* The files as job_collect left them, in the order of publish.files. */
static json_t *list_files(const struct job *j)
{
	json_t *files = json_array();

	for (size_t i = 0; i < j->nout_files; i++) {
		const struct job_file *f = &j->out_files[i];
		const char *slash = strrchr(f->path, '/');
		_cleanup_free_ char *full = xasprintf("%s/out/%s", j->dir, f->path);

		if (json_array_append_new(files, json_pack("{s:s, s:s, s:i}", "name", slash ? slash + 1 : f->path,
							   "file", full, "mode", (int)f->mode))) {
			json_decref(files);
			return NULL;
		}
	}
	return files;
}

/* The boot proof that the published image itself passed: `check.file` may name another. */
static const char *proof(struct job *j)
{
	if (j->spec.check.boot == BOOT_NONE) return "";
	if (!strcmp(j->boot_file, j->out_files[0].path)) return plan_boot_name(j->spec.check.boot);
	log_line(j->log, "slipway: the image %s is published without boot proof: %s was booted", j->out_files[0].path,
		 j->boot_file);
	return "";
}

/* The sealed deploy key, as `.ci.yml` has it; NULL: it is not there. */
static json_t *sealed_key(const struct job *j, const char *name)
{
	for (size_t i = 0; i < j->spec.nenv; i++) {
		const struct plan_env *row = &j->spec.env[i];
		json_t *chunks;

		if (row->text || !row->secret_name || strcmp(row->secret_name, name) != 0) continue;
		chunks = json_array();
		for (size_t k = 0; k < row->chunks.len; k++)
			if (json_array_append_new(chunks, json_string(row->chunks.items[k])))
				die("a sealed value that is not base64");
		return json_pack("{s:s, s:s, s:o}", "name", name, "scope", j->repo.name, "chunks", chunks);
	}
	return NULL;
}

/* What the publisher needs, without any secret: the deploy key goes along sealed, and it opens that by itself. */
static json_t *publish_order(struct job *j, struct err *e)
{
	const struct plan_publish *p = &j->spec.publish;
	_cleanup_free_ char *number = xasprintf("%s %d.%d", j->repo.name, j->build.number, j->row.number);
	_cleanup_free_ char *cache = home_file(&j->home, "publish"), *pins = home_file(&j->home, "publish/known_hosts");
	_cleanup_free_ char *key = home_repo(&j->home, j->repo.id, "key");
	_cleanup_free_ char *sign_key = home_repo(&j->home, j->repo.id, "sign-key");
	_cleanup_json_ json_t *sealed = p->key ? sealed_key(j, p->key) : NULL, *order = NULL;

	if (p->key && !sealed) {
		err_set(e, ERR_MISSING, "the deploy key '%s' is not among the sealed values of env", p->key);
		return NULL;
	}
	order = json_pack(
		"{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:b, s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:s, s:I, s:o, s:s, "
		"s:I, s:s, s:b, s:b, s:s*, s:s*, s:i, s:b, s:s}",
		"remote", p->repo, "branch", p->branch, "path", p->path, "commit", j->build.commit, "source_repo",
		j->repo.name, "source_branch", j->build.branch ? j->build.branch : "", "backend",
		j->spec.backend ? j->spec.backend : "", "arch", j->spec.arch ? j->spec.arch : image_host_arch(),
		"emulated", j->image.emulated, "image_digest", j->image.digest, "job", number, "checks", proof(j),
		"cache", cache, "known_hosts", pins, "source_mirror", j->mirror, "keep", p->keep, "state",
		j->home.state, "repo_id", (json_int_t)j->repo.id, "files", list_files(j), "image_name",
		j->spec.image ? j->spec.image : "", "event", (json_int_t)(j->exec ? 0 : j->event.id), "sign_key",
		sign_key, "make_sign_key", 1, "no_latest", !p->latest, "message", p->message, "author", p->author,
		"mode", p->mode, "secrets", 1, "packing", plan_packing_name((enum plan_packing)p->packing));
	/* A person's own build has no number among the pushes, and a key that is made for it alone would say nothing.
	 */
	if (order && j->exec && !fs_exists(sign_key)) {
		json_object_del(order, "sign_key");
		json_object_del(order, "make_sign_key");
	}
	if (!order || (sealed && (json_object_set(order, "sealed_key", sealed) ||
				  json_object_set_new(order, "repo_key_file", json_string(key))))) {
		err_set(e, ERR_INPUT, "cannot write the publish request: a name in it is not UTF-8");
		return NULL;
	}
	return steal(order);
}

int job_may_publish(struct job *j, struct err *e)
{
	if (!j->spec.publish.repo) return 0;
	return deploypath_check(&j->home, j->repo.id, j->repo.name, j->spec.publish.repo, NULL, e);
}

int job_publish(struct job *j, struct err *e)
{
	_cleanup_free_ char *path = xasprintf("%s/publish.json", j->dir), *text = NULL;
	_cleanup_json_ json_t *order = NULL, *result = NULL;
	_cleanup_buf_ struct buf answer = BUF_INIT(65536);
	_cleanup_close_ int secrets = -1;
	struct publication_new published;
	const char *commit;

	if (!j->spec.publish.repo) return 0;
	while (store_job_publishing(j->store, j->row.id, j->row.attempt, e))
		if (job_wait_for_store(j, e)) return -1;
	j->publishing = 1;
	job_says(j, "publish: to %s", j->spec.publish.repo);
	log_line(j->log, "slipway: publishing to %s, %s/%s", j->spec.publish.repo, j->spec.publish.path,
		 j->build.commit);
	order = publish_order(j, e);
	if (!order) return -1;
	text = json_text(order);
	if (fs_write_file(path, text, strlen(text), 0600, e) || job_secrets_fd(j, &secrets, e)) return -1;
	if (step(j, "publish", (const char *const[]){job_runner(), "publish", "--request", path, NULL}, secrets,
		 &answer, e))
		return -1;
	if (buf_check(&answer, "the publisher's answer", e) ||
	    json_parse("the publisher's answer", buf_str(&answer), answer.len, &result, e) ||
	    json_need_string(result, "commit", &commit, e))
		return -1;
	published = (struct publication_new){.deployment = j->spec.publish.repo,
					     .branch = j->spec.publish.branch,
					     .path = j->spec.publish.path,
					     .commit = j->build.commit,
					     .deployment_commit = commit,
					     .sequence = json_int_or(result, "sequence", 0)};
	while (store_job_published(j->store, j->row.id, j->row.attempt, &published, clock_unix_ms(), e))
		if (job_wait_for_store(j, e)) return -1;
	home_wake(&j->home); /* boxes are told by it */
	return 0;
}
