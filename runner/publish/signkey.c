/* Files of signing keys. The secret half comes first and is never replaced but by a rename; the public half can be
 * made from it again at any time. */
#include "runner/publish/signkey.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/buf.h"
#include "lib/fs.h"
#include "senv/keys.h"

int signkey_read(const char *path, struct secret *key_r, struct err *e)
{
	_cleanup_secret_ struct secret text = SECRET_INIT;

	if (secret_read_file(path, MINISIGN_MAX_FILE, &text, e)) return -1;
	return minisign_secret_parse(&text, key_r, e) ? err_wrap(e, "cannot use signing key '%s'", path) : 0;
}

/* It is written where it is not what it should be, as after a crash in the middle of a rotation. */
static int write_public(const char *path, const struct minisign_public *pub, struct err *e)
{
	_cleanup_free_ char *file = xasprintf("%s.pub", path), *text = minisign_public_text(pub);
	_cleanup_buf_ struct buf there = BUF_INIT(MINISIGN_MAX_FILE);
	struct err none;

	if (!fs_read_file(file, &there, &none) && !strcmp(buf_str(&there), text)) return 0;
	return fs_write_file(file, text, strlen(text), 0644, e);
}

int signkey_make(const char *path, struct minisign_public *pub_r, struct err *e)
{
	_cleanup_secret_ struct secret key = SECRET_INIT;

	if (!fs_exists(path)) {
		_cleanup_secret_ struct secret text = SECRET_INIT;

		minisign_generate(&text);
		/* It refuses to replace a file: somebody else may have been faster. */
		if (key_write_text(path, &text, e) && !fs_exists(path)) return -1;
	}
	if (signkey_read(path, &key, e)) return -1;
	minisign_public_of(&key, pub_r);
	return write_public(path, pub_r, e);
}

int signkey_public(const char *text_or_file, struct minisign_public *pub_r, struct err *e)
{
	_cleanup_buf_ struct buf text = BUF_INIT(MINISIGN_MAX_FILE);
	struct err why;

	if (!minisign_public_parse(text_or_file, strlen(text_or_file), pub_r, &why)) return 0;
	if (fs_read_file(text_or_file, &text, e)) return err_wrap(e, "no public key, and no file of one");
	if (minisign_public_parse(buf_str(&text), text.len, pub_r, e)) return err_wrap(e, "'%s'", text_or_file);
	return 0;
}

/* --- rotation --- */

int signkey_next(const char *path, struct minisign_public *pub_r, struct err *e)
{
	_cleanup_free_ char *next = xasprintf("%s.next", path);

	return signkey_make(next, pub_r, e);
}

int signkey_switch(const char *path, struct minisign_public *pub_r, struct err *e)
{
	_cleanup_free_ char *next = xasprintf("%s.next", path), *next_pub = xasprintf("%s.next.pub", path),
			    *kept = NULL, *text = NULL;
	_cleanup_secret_ struct secret old = SECRET_INIT, key = SECRET_INIT;
	struct minisign_public before;
	char id[17];

	if (signkey_read(next, &key, e) || signkey_read(path, &old, e)) return -1;
	minisign_public_of(&key, pub_r);
	minisign_public_of(&old, &before);
	minisign_id_text(before.id, id);
	kept = xasprintf("%s.pub.%s", path, id);
	text = minisign_public_text(&before);
	if (fs_write_file(kept, text, strlen(text), 0644, e)) return -1;
	if (rename(next, path)) return err_sys(e, "cannot rename '%s'", next);
	unlink(next_pub);
	return write_public(path, pub_r, e);
}
