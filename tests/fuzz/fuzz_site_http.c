/* The example site's request core, over a whole connection of any bytes: what it answers is well formed, comes out of
 * the table, does not depend on how the bytes were cut into packets, and always makes progress. */
#include "examples/site/src/http.c"
#include "examples/site/src/sha256.c"
#include "examples/site/src/site.c"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PAGE(path, type, etag, text)                                                                                   \
	{                                                                                                              \
		path, type, "\"" etag "\"", (const unsigned char *)text, sizeof text - 1, NULL                         \
	}
const struct site_file site_files[] = {
	PAGE("/404.html", "text/html", "404", "none"),
	PAGE("/a b/index.html", "text/html", "ab", "folder"),
	PAGE("/index.html", "text/html", "/index.html", "<h1>"),
	PAGE("/x\xc3\xa9%", "text/plain", "empty", ""),
};
const size_t site_nfiles = sizeof site_files / sizeof *site_files;
const char site_commit[] = "0123456";

#define MUST(condition)                                                                                                \
	do {                                                                                                           \
		if (!(condition)) abort();                                                                             \
	} while (0)

static void check_head(const struct http_answer *a)
{
	struct slice rest = {a->head, a->head_len}, line;
	int lines = 0;

	MUST(a->head_len > 4 && a->head_len < HTTP_ANSWER_MAX);
	MUST(memcmp(a->head + a->head_len - 4, "\r\n\r\n", 4) == 0);
	for (; rest.n; lines++) {
		line = cut(&rest, '\n');
		MUST(line.n && line.p[line.n - 1] == '\r');
		MUST(line.n > 1 ||
		     !rest.n); /* the empty line is the last: nothing of the request came through as one */
		for (size_t i = 0; i + 1 < line.n; i++) MUST(line.p[i] >= ' ' && line.p[i] < 0x7f);
		if (lines == 0)
			MUST(memcmp(line.p, "HTTP/1.1 ", 9) == 0);
		else if (line.n > 1)
			MUST(memchr(line.p, ':', line.n));
	}
}

static void check_body(const struct http_answer *a)
{
	int known = a->body_len == 0;

	for (size_t i = 0; i < site_nfiles; i++)
		known |= a->body == site_files[i].data && a->body_len == site_files[i].size;
	for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++)
		known |= a->body == (const unsigned char *)statuses[i].page && a->status == statuses[i].code;
	MUST(known);
	MUST(status_of(a->status)->code == a->status);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct http_answer a, again;
	const char *in = (const char *)data;
	int closed = 0;

	while (size && !closed) {
		size_t len = size < HTTP_HEAD_MAX ? size : HTTP_HEAD_MAX;

		if (!http_next(in, len, "now", 0, &a)) {
			MUST(len < HTTP_HEAD_MAX);
			break;
		}
		MUST(a.consumed > 0 && a.consumed <= len);
		check_head(&a);
		check_body(&a);
		MUST(a.close || (a.status != 400 && a.status != 405 && a.status != 414 && a.status != 431));
		/* Byte by byte it is the same answer, and none comes early. */
		if (a.status != 414 && a.status != 431) {
			char *part = malloc(a.consumed);

			MUST(part);
			memcpy(part, in, a.consumed);
			MUST(http_next(part, a.consumed, "now", 0, &again) == 1);
			MUST(again.status == a.status && again.consumed == a.consumed && again.close == a.close);
			MUST(again.head_len == a.head_len && memcmp(again.head, a.head, a.head_len) == 0);
			MUST(a.consumed < 2 || !http_next(part, a.consumed - 1, "now", 0, &again));
			MUST(a.consumed < 2 || !http_next(part, a.consumed / 2, "now", 0, &again));
			free(part);
		}
		closed = a.close;
		in += a.consumed;
		size -= a.consumed;
	}
	return 0;
}
