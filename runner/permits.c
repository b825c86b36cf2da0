/* Lists of what the box's owner allows a repository. */
#include "runner/permits.h"

#include <ctype.h>
#include <string.h>

#include "lib/fs.h"

enum { MAX_LIST = 1 << 20 };

int permit_list(const struct home *h, int64_t repo_id, const char *which, struct vec *entries_r, struct err *e)
{
	_cleanup_free_ char *file = home_repo(h, repo_id, which);
	_cleanup_buf_ struct buf text = BUF_INIT(MAX_LIST);
	struct err why;

	if (fs_read_file(file, &text, &why)) {
		if (why.kind == ERR_MISSING) return 0;
		*e = why;
		return -1;
	}
	for (const char *p = buf_str(&text); *p;) {
		size_t n = strcspn(p, "\n");

		if (n) vec_take(entries_r, xstrndup(p, n));
		p += n + (p[n] == '\n');
	}
	return 0;
}

int permit_add(const struct home *h, int64_t repo_id, const char *which, const char *entry, struct err *e)
{
	_cleanup_free_ char *file = home_repo(h, repo_id, which), *lock = xasprintf("%s.lock", file);
	_cleanup_vec_ struct vec entries = VEC_INIT;
	_cleanup_buf_ struct buf text = BUF_INIT(MAX_LIST);
	_cleanup_close_ int held = -1;

	for (const char *p = entry; *p; p++)
		if (iscntrl((unsigned char)*p)) return err_set(e, ERR_INPUT, "bad entry: it holds a control character");
	if (!*entry) return err_set(e, ERR_INPUT, "bad entry: it is empty");
	if (fs_lock(lock, 1, &held, e) || permit_list(h, repo_id, which, &entries, e)) return -1;
	if (vec_has(&entries, entry)) return 0;
	vec_add(&entries, entry);
	for (size_t i = 0; i < entries.len; i++) buf_addf(&text, "%s\n", entries.items[i]);
	if (buf_check(&text, file, e)) return -1;
	return fs_write_file(file, text.data, text.len, 0600, e);
}
