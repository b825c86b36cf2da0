/* The secret that a repository's webhooks are signed with. */
#include <sodium.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/fs.h"
#include "runner/notify.h"

enum { SECRET_BYTES = 32 };

int notify_secret(const struct home *h, int64_t repo_id, struct secret *text_r, struct err *e)
{
	_cleanup_free_ char *path = home_repo(h, repo_id, "notify-secret"), *lock = xasprintf("%s.lock", path);
	_cleanup_secret_ struct secret bytes = SECRET_INIT, text = SECRET_INIT;
	_cleanup_close_ int held = -1;
	struct stat st;

	if (fs_lock(lock, 1, &held, e)) return -1;
	if (stat(path, &st) || !st.st_size) {
		secret_alloc(&bytes, SECRET_BYTES);
		randombytes_buf(bytes.data, bytes.len);
		secret_alloc(&text, 2 * SECRET_BYTES + 1);
		sodium_bin2hex((char *)text.data, 2 * SECRET_BYTES + 1, bytes.data, bytes.len);
		text.data[2 * SECRET_BYTES] = '\n';
		if (fs_write_file(path, text.data, text.len, 0600, e)) return -1;
	}
	if (secret_read_file(path, 4096, text_r, e)) return -1;
	while (text_r->len && strchr("\r\n", text_r->data[text_r->len - 1])) text_r->len--;
	return 0;
}
