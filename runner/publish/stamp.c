/* The trusted comment of a signature. */
#include "runner/publish/stamp.h"

#include <ctype.h>
#include <string.h>

#include "lib/buf.h"
#include "lib/num.h"

static void copy(char *to, const char *from, size_t size)
{
	size_t n = strnlen(from ? from : "", size - 1);

	memcpy(to, from ? from : "", n);
	to[n] = '\0';
}

void stamp_set(struct stamp *s, const char *repository, const char *path, const char *commit, int64_t sequence)
{
	copy(s->repository, repository, sizeof(s->repository));
	copy(s->path, path, sizeof(s->path));
	copy(s->commit, commit, sizeof(s->commit));
	s->sequence = sequence;
}

static void add_value(struct buf *b, const char *name, const char *value)
{
	buf_addf(b, "%s%s=", b->len ? " " : "", name);
	for (const char *p = value; *p; p++)
		if (isalnum((unsigned char)*p) || strchr("_./:@+-", *p))
			buf_addch(b, *p);
		else
			buf_addf(b, "%%%02X", (unsigned char)*p);
}

char *stamp_text(const struct stamp *s)
{
	struct buf b = BUF_INIT(8 * STAMP_MAX_TEXT);

	add_value(&b, "repository", s->repository);
	add_value(&b, "path", s->path);
	add_value(&b, "commit", s->commit);
	buf_addf(&b, " sequence=%lld", (long long)s->sequence);
	return buf_steal(&b);
}

static int hex(char c)
{
	const char *digits = "0123456789ABCDEF", *at = c ? strchr(digits, toupper((unsigned char)c)) : NULL;

	return at ? (int)(at - digits) : -1;
}

/* The value of `name`, unescaped. -1: it is not there, or does not fit. */
static int value_of(const char *text, const char *name, char *to, size_t size)
{
	size_t n = strlen(name), len = 0;
	const char *p = text;

	while (p && (strncmp(p, name, n) != 0 || p[n] != '=')) {
		p = strchr(p, ' ');
		if (p) p++;
	}
	if (!p) return -1;
	for (p += n + 1; *p && *p != ' '; p++) {
		if (len + 1 >= size) return -1;
		if (*p == '%') {
			int high = hex(p[1]), low = high < 0 ? -1 : hex(p[2]);

			if (low < 0 || !(high | low)) return -1;
			to[len++] = (char)(high << 4 | low);
			p += 2;
		} else {
			to[len++] = *p;
		}
	}
	to[len] = '\0';
	return 0;
}

int stamp_parse(const char *text, struct stamp *s_r, struct err *e)
{
	char number[20];

	if (value_of(text, "repository", s_r->repository, sizeof(s_r->repository)))
		return err_set(e, ERR_INPUT, "its comment tells no repository");
	if (value_of(text, "path", s_r->path, sizeof(s_r->path)))
		return err_set(e, ERR_INPUT, "its comment tells no path");
	if (value_of(text, "commit", s_r->commit, sizeof(s_r->commit)))
		return err_set(e, ERR_INPUT, "its comment tells no commit");
	if (value_of(text, "sequence", number, sizeof(number)) ||
	    num_parse(number, 1, STAMP_MAX_SEQUENCE, &s_r->sequence))
		return err_set(e, ERR_INPUT, "its comment tells no sequence number");
	return 0;
}
