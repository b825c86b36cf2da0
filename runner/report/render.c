/* A job's log for a person. Bytes are held back only while they may be the beginning of something that is shown in
 * another way:
 *
 *   anywhere        travis_fold:start:NAME\r\033[0K   travis_fold:end:NAME…   travis_time:…
 *   at a line's start, in colour                      "$ "   "slipway: " */
#include "runner/report/render.h"

#include <string.h>

enum { MARK_MAX = 400 };

struct render {
	int colour;
	struct buf held;
	int in_line; /* the line that was handed on last has not ended */
	int styled;  /* and is in colour up to its end */
	char *fold;  /* the open one; NULL: none */
	int64_t fold_since_ms;
};

static const char mark_end[] = "\r\033[0K", reset[] = "\033[0m";
static const char *const marks[] = {"travis_fold:", "travis_time:"};
static const struct {
	const char *start, *style;
} lines[] = {{"$ ", "\033[1m"}, {"slipway: ", "\033[36m"}};

struct render *render_new(int colour)
{
	struct render *r = xcalloc(1, sizeof(*r));

	r->colour = colour;
	buf_init(&r->held, SIZE_MAX / 2);
	return r;
}

void render_free(struct render **rp)
{
	if (!*rp) return;
	buf_release(&(*rp)->held);
	free_p(&(*rp)->fold);
	free_p(rp);
}

enum match { NO, PERHAPS, YES };

static enum match begins(const char *p, size_t len, const char *word)
{
	size_t n = strlen(word);

	if (len >= n) return memcmp(p, word, n) ? NO : YES;
	return memcmp(p, word, len) ? NO : PERHAPS;
}

static void end_line(struct render *r, struct buf *out)
{
	if (r->styled) buf_adds(out, reset);
	if (r->in_line) buf_addch(out, '\n');
	r->styled = r->in_line = 0;
}

/* --- marks --- */

static void fold_starts(struct render *r, const char *name, int64_t now_ms, struct buf *out)
{
	end_line(r, out);
	free_p(&r->fold);
	r->fold = xstrdup(name);
	r->fold_since_ms = now_ms;
	buf_addf(out, r->colour ? "\033[1;34m--- %s\033[0m\n" : "--- %s\n", name);
}

static void fold_ends(struct render *r, const char *name, int64_t now_ms, struct buf *out)
{
	int64_t ms = now_ms - r->fold_since_ms;

	end_line(r, out);
	if (r->colour && r->fold && !strcmp(r->fold, name) && ms >= 0)
		buf_addf(out, "\033[2m    %s took %lld.%01lld s\033[0m\n", name, (long long)ms / 1000,
			 (long long)ms % 1000 / 100);
	free_p(&r->fold);
}

/* A name may come from a job's own output: nothing in it is to steer a terminal. */
static int good_name(const char *name)
{
	for (; *name; name++)
		if ((unsigned char)*name < 0x20 || *name == 0x7f) return 0;
	return 1;
}

/* The whole mark, without its end. 0: it was none. */
static int take_mark(struct render *r, const char *p, size_t len, int64_t now_ms, struct buf *out)
{
	static const char start[] = "travis_fold:start:", end[] = "travis_fold:end:";
	char text[MARK_MAX + 1];

	memcpy(text, p, len);
	text[len] = '\0';
	if (strlen(text) != len || !good_name(text)) return 0;
	if (begins(text, len, start) == YES)
		fold_starts(r, text + strlen(start), now_ms, out);
	else if (begins(text, len, end) == YES)
		fold_ends(r, text + strlen(end), now_ms, out);
	else
		return begins(text, len, "travis_time:") == YES;
	return 1;
}

/* At a byte that may begin a mark. used_r: how many bytes were one. */
static enum match try_mark(struct render *r, const char *p, size_t len, int64_t now_ms, size_t *used_r, struct buf *out)
{
	enum match found = NO;
	size_t n;

	for (size_t i = 0; i < ARRAY_LEN(marks) && found == NO; i++) found = begins(p, len, marks[i]);
	if (found != YES) return found;
	for (n = 0; n < len && n <= MARK_MAX && p[n] != '\n'; n++) {
		if (p[n] != '\r') continue;
		found = begins(p + n, len - n, mark_end);
		if (found != YES) return found;
		*used_r = n + strlen(mark_end);
		return take_mark(r, p, n, now_ms, out) ? YES : NO;
	}
	return n < len ? NO : n > MARK_MAX ? NO : PERHAPS;
}

/* --- lines --- */

static enum match try_line(struct render *r, const char *p, size_t len, struct buf *out)
{
	enum match found = NO;

	for (size_t i = 0; i < ARRAY_LEN(lines) && found == NO; i++) {
		found = begins(p, len, lines[i].start);
		if (found != YES) continue;
		buf_adds(out, lines[i].style);
		r->styled = 1;
	}
	return found;
}

static void pass(struct render *r, char c, struct buf *out)
{
	if (c == '\n' && r->styled) {
		buf_adds(out, reset);
		r->styled = 0;
	}
	buf_addch(out, c);
	r->in_line = c != '\n';
}

/* all: nothing more comes */
static void work(struct render *r, int all, int64_t now_ms, struct buf *out)
{
	const char *p = buf_str(&r->held);
	size_t len = r->held.len, at = 0;

	while (at < len) {
		enum match found = NO;
		size_t used = 0;

		if (p[at] == 't') found = try_mark(r, p + at, len - at, now_ms, &used, out);
		if (found == NO && r->colour && !r->in_line) found = try_line(r, p + at, len - at, out);
		if (found == PERHAPS && !all) break;
		if (used && found == YES)
			at += used;
		else
			pass(r, p[at++], out);
	}
	buf_drop(&r->held, at);
}

void render_feed(struct render *r, const void *data, size_t len, int64_t now_mono_ms, struct buf *out)
{
	buf_add(&r->held, data, len);
	work(r, 0, now_mono_ms, out);
}

void render_end(struct render *r, struct buf *out)
{
	work(r, 1, 0, out);
	end_line(r, out);
	free_p(&r->fold);
}
