/* A leader before its job: box and container are made like those of a job that was, and wait. The daemon sends the job
 * that it becomes the leader of, with its lock; until then the end of the daemon is its end.
 *
 *   slipway-job spare ─→ image, box, container ─ "ready" ─→ waits ─ order ─→ as any leader
 *
 * What it made is used only where it is what the job would have made itself, and by one job. state/spare/<pid>/{lock,
 * box/}: the lock is held as long as it lives, also as a leader. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fs.h"
#include "runner/images.h"
#include "runner/job.h"
#include "runner/leader.h"
#include "runner/spare.h"

static void note_layers(const struct image *image, ino_t inodes_r[JOB_SPARE_LAYERS])
{
	struct stat st;

	memset(inodes_r, 0, JOB_SPARE_LAYERS * sizeof(*inodes_r));
	for (size_t i = 0; i < image->layers.len && i < JOB_SPARE_LAYERS; i++)
		inodes_r[i] = stat(image->layers.items[i], &st) ? 0 : st.st_ino;
}

/* Its image as it was chosen for that build; another build's may be another by then, and does not fit. */
static int find_image(struct job *j, struct err *e)
{
	__attribute__((cleanup(build_row_release))) struct build_row build = {0};
	__attribute__((cleanup(event_row_release))) struct event_row event = {0};
	_cleanup_images_choice_ struct images_choice c = {0};
	struct image_ask ask;

	if (store_build_get(j->store, j->row.build_id, &build, e) ||
	    store_event_get(j->store, build.event_id, &event, e) ||
	    images_choose(&j->home, j->store, j->row.build_id, event.ev.from_fork, j->spec.image, &c, e))
		return -1;
	ask = (struct image_ask){.cache = j->home.cache,
				 .name = c.reference,
				 .arch = j->spec.arch,
				 .packages = &j->spec.packages,
				 .pin = c.pin,
				 .anonymous = c.anonymous};
	return image_find(&ask, &j->image, e);
}

static int load_like(struct job *j, int64_t like, struct err *e)
{
	_cleanup_json_ json_t *spec = NULL;

	if (store_job_get(j->store, like, &j->row, e) ||
	    json_parse("job", j->row.spec, strlen(j->row.spec), &spec, e) || job_spec_from_json(spec, &j->spec, e))
		return -1;
	return find_image(j, e);
}

static int make_folder(struct job *j, struct job_spare *s, char **box_r, struct err *e)
{
	_cleanup_free_ char *lock = NULL;

	s->dir = xasprintf("%s/spare/%d", j->home.state, (int)getpid());
	*box_r = xasprintf("%s/box", s->dir);
	lock = xasprintf("%s/lock", s->dir);
	if (fs_mkdirs(s->dir, 0700, e) || fs_lock(lock, 0, &s->lock, e)) return -1;
	sandbox_discard(*box_r); /* of one that had our pid and was killed */
	return fs_mkdirs(*box_r, 0700, e);
}

int job_spare_make(struct job *j, int64_t like, struct err *e)
{
	struct job_spare *s = j->spare = xcalloc(1, sizeof(*s));
	_cleanup_free_ char *box = NULL;
	_cleanup_close_ int theirs = -1;
	struct job_box_opts o = {0};
	int p[2], rc;

	s->lock = s->out = -1;
	spare_sweep(&j->home);
	rc = load_like(j, like, e);
	if (rc) return rc < 0 ? -1 : err_set(e, ERR_MISSING, "its image is not there");
	if (j->spec.network == NETWORK_INSTALL) return err_set(e, ERR_INPUT, "its network is to end");
	if (make_folder(j, s, &box, e) || job_watch_signals(j, e)) return -1;
	job_box_opts(j, &o);
	o.opts.id = "spare";
	o.opts.dir = box;
	rc = sandbox_open(&o.opts, &s->box, &s->notes, e);
	s->limits = o.opts.limits;
	s->disk_wish = j->spec.limits.disk_bytes;
	s->network = o.opts.network;
	job_box_opts_release(&o);
	if (rc) return -1;
	if (pipe2(p, O_CLOEXEC)) return err_sys(e, "cannot make a pipe");
	s->out = p[0];
	theirs = p[1];
	fcntl(theirs, F_SETPIPE_SZ, 1 << 20);
	if (job_put_tools(s->box, e)) return -1;
	if (sandbox_ready(s->box, 0, theirs, JOB_STOP_GRACE_MS, e)) return -1;
	note_layers(&j->image, s->inodes);
	s->image = j->image;
	/* The rest was only the pattern. */
	job_spec_release(&j->spec);
	job_row_release(&j->row);
	j->spec = (struct job_spec){0};
	j->row = (struct job_row){0};
	j->image = (struct image){0};
	return 0;
}

/* One packet: the order, and the job's locked lock. 1: the daemon is gone. */
static int receive(int sock, struct leader_order *o_r, int *lock_r, struct err *e)
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct iovec iov = {o_r, sizeof(*o_r)};
	struct msghdr m = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
	ssize_t n;

	do n = recvmsg(sock, &m, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n == 0) return 1;
	if (n != sizeof(*o_r) || control.head.cmsg_len != CMSG_LEN(sizeof(int)))
		return err_set(e, ERR_INPUT, "a broken order");
	memcpy(lock_r, CMSG_DATA(&control.head), sizeof(int));
	return 0;
}

int job_spare_wait(struct job *j, int64_t *id_r, int *attempt_r, struct err *e)
{
	/* Its container may end while it waits: killed as the disk was full, say. */
	struct pollfd pf[3] = {{LEADER_ORDER_FD, POLLIN, 0},
			       {loop_signal_fd(j->loop), POLLIN, 0},
			       {sandbox_fd(j->spare->box), POLLIN, 0}};
	_cleanup_free_ char *said = NULL;
	_cleanup_close_ int lock = -1, out = -1;
	struct leader_order o;
	int rc;

	if (send(LEADER_ORDER_FD, "!", 1, MSG_NOSIGNAL) != 1) return 1;
	while (poll(pf, 3, -1) < 0)
		if (errno != EINTR) return err_sys(e, "cannot wait for a job");
	if (pf[1].revents || (pf[2].revents && !pf[0].revents)) return 1;
	rc = receive(LEADER_ORDER_FD, &o, &lock, e);
	if (rc) return rc;
	/* Its place was the order's. */
	if (dup3(lock, LEADER_LOCK_FD, O_CLOEXEC) < 0) return err_sys(e, "cannot hold the job's lock");
	said = home_job(&j->home, o.job_id, "leader.err");
	out = open(said, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (out >= 0 && (dup2(out, 1) < 0 || dup2(out, 2) < 0)) return err_sys(e, "cannot write to '%s'", said);
	*id_r = o.job_id;
	*attempt_r = o.attempt;
	return 0;
}

static int fits(const struct job *j, const struct sandbox_opts *o)
{
	const struct job_spare *s = j->spare;
	const struct sandbox_limits *a = &s->limits, *b = &o->limits;
	ino_t inodes[JOB_SPARE_LAYERS];

	struct pollfd ended = {s->box ? sandbox_fd(s->box) : -1, POLLIN, 0};

	if (!s->box || poll(&ended, 1, 0) == 1 || j->second_half || s->network != o->network ||
	    s->image.layers.len != j->image.layers.len)
		return 0;
	/* This host may have got an address since, and its owner another rule. */
	if (!sandbox_rules_hold(s->box, o)) return 0;
	if (a->memory_bytes != b->memory_bytes || a->cpus_milli != b->cpus_milli || a->pids != b->pids) return 0;
	/* Without a wish it is a part of what was free then: less than now will do. */
	if (s->disk_wish != j->spec.limits.disk_bytes || (s->disk_wish && a->disk_bytes != b->disk_bytes) ||
	    a->disk_bytes > b->disk_bytes / 2 * 3)
		return 0;
	/* A layer that was made anew meanwhile has its old name. */
	note_layers(&j->image, inodes);
	if (memcmp(inodes, s->inodes, sizeof(inodes)) != 0) return 0;
	for (size_t i = 0; i < s->image.layers.len; i++)
		if (strcmp(s->image.layers.items[i], j->image.layers.items[i]) != 0) return 0;
	return 1;
}

int job_spare_take(struct job *j, const struct sandbox_opts *o, struct vec *notes)
{
	struct job_spare *s = j->spare;

	if (j->ready_out > 0) close_p(&j->ready_out); /* of a box that could not be used after all */
	j->ready_out = 0;
	if (!s) return 0;
	if (!fits(j, o)) {
		sandbox_close(&s->box);
		return 0;
	}
	j->box = s->box;
	s->box = NULL;
	j->ready_out = s->out;
	s->out = -1;
	for (size_t i = 0; i < s->notes.len; i++) vec_add(notes, s->notes.items[i]);
	return 1;
}

void job_spare_release(struct job *j)
{
	struct job_spare *s = j->spare;
	struct err ignored;

	if (!s) return;
	sandbox_close(&s->box);
	if (j->ready_out > 0) close_p(&j->ready_out);
	close_p(&s->out);
	if (s->dir && fs_remove_tree(s->dir, &ignored)) errno = 0; /* the sweep's */
	close_p(&s->lock);
	vec_release(&s->notes);
	image_release(&s->image);
	free(s->dir);
	free_p(&j->spare);
}
