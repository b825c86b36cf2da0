/* The tripwire. One automaton looks for all secrets at once; only when it finds something, each secret is looked for
 * alone, to tell which it is. What is packed in a file another process unpacks, which knows no secret (members.h): its
 * records are read here and not trusted. */
#include "runner/publish/leak.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/buf.h"
#include "lib/child.h"
#include "lib/fs.h"
#include "runner/publish/members.h"
#include "senv/mask.h"

enum { CHUNK = 1 << 17, MAX_SECRETS_BYTES = 16 << 20 };
static const char most_unpacked[] = "4294967296"; /* bytes of one file */

void leaks_release(struct leaks *l)
{
	for (size_t i = 0; i < l->n; i++) {
		free(l->items[i].name);
		secret_release(&l->items[i].value);
	}
	free_p(&l->items);
	l->n = 0;
}

void leaks_add(struct leaks *l, const char *name, const void *value, size_t len)
{
	l->items = xrealloc(l->items, (l->n + 1) * sizeof(*l->items));
	l->items[l->n] = (struct leak_secret){.name = xstrdup(name), .value = SECRET_INIT};
	secret_set(&l->items[l->n++].value, value, len);
}

int leaks_parse(const struct secret *text, struct leaks *l, struct err *e)
{
	const char *p = (const char *)text->data, *end = p + text->len;

	while (p < end) {
		const char *zero = memchr(p, 0, (size_t)(end - p)),
			   *is = zero ? memchr(p, '=', (size_t)(zero - p)) : NULL;
		_cleanup_free_ char *name = NULL;

		if (!is || is == p) return err_set(e, ERR_INPUT, "the list of secrets is damaged");
		name = xstrndup(p, (size_t)(is - p));
		leaks_add(l, name, is + 1, (size_t)(zero - is - 1));
		p = zero + 1;
	}
	return 0;
}

int leaks_read(int fd, struct leaks *l, struct err *e)
{
	_cleanup_secret_ struct secret text = SECRET_INIT;

	return secret_read_fd(fd, "the list of secrets", MAX_SECRETS_BYTES, &text, e) || leaks_parse(&text, l, e) ? -1
														  : 0;
}

/* --- records --- */

struct open_members {
	unsigned depth; /* of the innermost; 0: none */
	struct mask_cursor cursors[MEMBERS_MAX_DEPTH + 1];
	char *names[MEMBERS_MAX_DEPTH + 1];
};

static void open_members_release(struct open_members *o)
{
	for (size_t i = 0; i < ARRAY_LEN(o->names); i++) free(o->names[i]);
}

/* The whole of it. 1: read; 0: the end; -1: half */
static int read_whole(int fd, void *data, size_t len)
{
	size_t got = 0;

	while (got < len) {
		ssize_t n = read(fd, (char *)data + got, len - got);

		if (n < 0 && errno == EINTR) continue;
		if (n <= 0) return n == 0 && got == 0 ? 0 : -1;
		got += (size_t)n;
	}
	return 1;
}

/* Names of a stranger, that may even be the secret: masked, without odd bytes. */
static void put_place(struct mask *m, const struct open_members *o, unsigned depth, struct leak_place *at_r)
{
	_cleanup_buf_ struct buf b = BUF_INIT(sizeof(at_r->member) * 8);
	size_t n;

	for (unsigned d = 1; d <= depth; d++) {
		if (d > 1) buf_adds(&b, ": ");
		mask_feed(m, o->names[d], strlen(o->names[d]), &b);
		mask_end(m, &b);
	}
	n = b.len < sizeof(at_r->member) - 1 ? b.len : sizeof(at_r->member) - 1;
	memcpy(at_r->member, buf_str(&b), n);
	at_r->member[n] = '\0';
	for (char *p = at_r->member; *p; p++)
		if (iscntrl((unsigned char)*p) || (unsigned char)*p > 126) *p = '?';
}

static int one_record(struct mask *m, struct open_members *o, const struct members_record *r, const char *data,
		      struct leak_place *at_r)
{
	struct mask_cursor in_name = {0};
	int found = 0;

	switch (r->kind) {
	case 'B':
		free(o->names[r->depth]);
		o->names[r->depth] = xstrndup(data, r->len);
		o->cursors[r->depth] = (struct mask_cursor){0};
		o->depth = r->depth;
		found = mask_find(m, &in_name, data, r->len, &at_r->offset);
		break;
	case 'D': found = mask_find(m, &o->cursors[r->depth], data, r->len, &at_r->offset); break;
	default: at_r->limited = 1; return 0;
	}
	if (found) put_place(m, o, r->depth, at_r);
	return found;
}

int leaks_records(struct mask *m, int fd, struct leak_place *at_r)
{
	__attribute__((cleanup(open_members_release))) struct open_members o = {0};
	_cleanup_free_ char *data = xmalloc(MEMBERS_MAX_PAYLOAD);
	unsigned char head[MEMBERS_HEADER];
	int rc;

	while ((rc = read_whole(fd, head, sizeof(head))) == 1) {
		struct members_record r;

		if (members_header(head, o.depth, &r)) return -1;
		if (r.len && read_whole(fd, data, r.len) != 1) return -1;
		if (one_record(m, &o, &r, data, at_r)) return 1;
	}
	return rc;
}

/* --- one file --- */

/* 1: found */
static int look_packed(struct mask *m, int file, const char *name, struct leak_place *at_r, struct err *e)
{
	const char *const argv[] = {child_self(), "members", most_unpacked, NULL}, *const env[] = {NULL};
	_cleanup_close_ int ours = -1, theirs = -1;
	struct child_opts o = {.argv = argv, .env = env, .in = file, .die_with_parent = 1};
	struct child_status status;
	int p[2], rc;
	pid_t pid;

	if (lseek(file, 0, SEEK_SET) < 0) return err_sys(e, "cannot read '%s'", name);
	if (pipe2(p, O_CLOEXEC)) return err_sys(e, "cannot make a pipe");
	ours = p[0];
	o.out = theirs = p[1];
	if (child_start(&o, &pid, NULL, e)) return -1;
	close_p(&theirs);
	rc = leaks_records(m, ours, at_r);
	close_p(&ours);
	if (child_wait(pid, rc ? 0 : -1, &status, e)) return -1;
	if (rc == 1) return 1;
	if (rc == 0 && child_ok(status)) return 0;
	return err_set(e, ERR_REMOTE, "cannot look for secrets in what is packed in '%s': the unpacker %s", name,
		       rc ? "wrote no records" : child_status_str(status));
}

static int look(struct mask *m, const struct publish_file *f, struct leak_place *at_r, struct err *e)
{
	_cleanup_close_ int fd = open(f->file, O_RDONLY | O_CLOEXEC);
	_cleanup_free_ char *chunk = xmalloc(CHUNK);
	struct mask_cursor in_name = {0}, cursor = {0};
	ssize_t n;

	*at_r = (struct leak_place){0};
	if (fd < 0) return err_sys(e, "cannot open '%s'", f->file);
	if (mask_find(m, &in_name, f->name, strlen(f->name), &at_r->offset)) return 1;
	while ((n = read(fd, chunk, CHUNK))) {
		if (n < 0 && errno == EINTR) continue;
		if (n < 0) return err_sys(e, "cannot read '%s'", f->file);
		if (mask_find(m, &cursor, chunk, (size_t)n, &at_r->offset)) return 1;
	}
	return look_packed(m, fd, f->name, at_r, e);
}

/* --- all of them --- */

static void mask_p(struct mask **m)
{
	mask_free(m);
}

static int add(struct mask *m, const struct leak_secret *s, struct err *e)
{
	if (!mask_add_for_files(m, s->value.data, s->value.len) || s->value.len < LEAK_MIN_BYTES) return 0;
	return err_set(e, ERR_INPUT, "the secret '%s' is too large to be looked for", s->name);
}

/* Something was found: which one is it? */
static int tell(const struct leaks *l, const struct publish_file *f, const struct leak_place *seen, struct err *e)
{
	const char *name = NULL;
	struct leak_place at = *seen;

	for (size_t i = 0; i < l->n && !name; i++) {
		__attribute__((cleanup(mask_p))) struct mask *m = mask_new();
		int rc = add(m, &l->items[i], e) ? -1 : look(m, f, &at, e);

		if (rc < 0) return -1;
		if (rc) name = l->items[i].name;
	}
	if (!name) {
		name = "?";
		at = *seen;
	}
	return err_set(e, ERR_DENIED, "'%s' holds the secret '%s' at byte %llu%s%s%s: nothing is published", f->name,
		       name, (unsigned long long)at.offset, *at.member ? " of '" : "", at.member,
		       *at.member ? "' in it" : "");
}

static void say(publish_say_fn *fn, void *arg, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static void say(publish_say_fn *fn, void *arg, const char *fmt, ...)
{
	_cleanup_buf_ struct buf line = BUF_INIT(2000);
	va_list ap;

	va_start(ap, fmt);
	buf_vaddf(&line, fmt, ap);
	va_end(ap);
	if (fn) fn(arg, buf_str(&line));
}

int leaks_check(const struct leaks *l, const struct publish_request *r, publish_say_fn *say_fn, void *arg,
		struct err *e)
{
	__attribute__((cleanup(mask_p))) struct mask *m = mask_new();
	size_t looked_for = 0;

	for (size_t i = 0; i < l->n; i++) {
		if (add(m, &l->items[i], e)) return -1;
		looked_for += l->items[i].value.len >= LEAK_MIN_BYTES;
		if (l->items[i].value.len < LEAK_MIN_BYTES)
			say(say_fn, arg, "the secret '%s' is too short to be looked for in files", l->items[i].name);
	}
	for (size_t i = 0; i < r->nfiles && looked_for; i++) {
		struct leak_place at;
		int rc = look(m, &r->files[i], &at, e);

		if (rc) return rc < 0 ? -1 : tell(l, &r->files[i], &at, e);
		if (at.limited)
			say(say_fn, arg, "'%s' unpacks to too much: the rest was not searched for secrets",
			    r->files[i].name);
	}
	return 0;
}
