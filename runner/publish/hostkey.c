/* Pinned host keys. */
#include "runner/publish/hostkey.h"

#include <sodium.h>
#include <string.h>

#include "lib/buf.h"
#include "lib/fs.h"

enum { MAX_FILE = 1 << 20 };

char *hostkey_fingerprint(const unsigned char hash[32])
{
	char text[sodium_base64_ENCODED_LEN(32, sodium_base64_VARIANT_ORIGINAL_NO_PADDING)];

	sodium_bin2base64(text, sizeof(text), hash, 32, sodium_base64_VARIANT_ORIGINAL_NO_PADDING);
	return xasprintf("SHA256:%s", text);
}

/* Looks `name` up. out: known_r one of its pins (caller frees), NULL: none. Returns 1 when `fingerprint` is pinned. */
static int look_up(const char *file, const char *text, const char *name, const char *fingerprint, char **known_r,
		   struct err *e)
{
	int line = 1;

	for (const char *p = text; *p; line++) {
		size_t n = strcspn(p, "\n"), host = strcspn(p, " \t\r\n#"), gap = strspn(p + host, " \t");
		const char *pin = p + host + gap;
		size_t len = strcspn(pin, " \t\r\n#");

		if (host && (!gap || strncmp(pin, "SHA256:", 7) != 0))
			return err_set(e, ERR_INPUT, "%s:%d: not of the form 'host:port SHA256:…'", file, line);
		if (host == strlen(name) && !strncmp(p, name, host)) {
			if (len == strlen(fingerprint) && !strncmp(pin, fingerprint, len)) return 1;
			free_p(known_r);
			*known_r = xstrndup(pin, len);
		}
		p += n + (p[n] == '\n');
	}
	return 0;
}

int hostkey_check(const char *file, const char *host, int port, const char *fingerprint, struct err *e)
{
	_cleanup_free_ char *name = xasprintf("%s:%d", host, port), *known = NULL, *lock = xasprintf("%s.lock", file);
	_cleanup_buf_ struct buf text = BUF_INIT(MAX_FILE);
	_cleanup_close_ int held = -1;
	int found;

	if (fs_lock(lock, 1, &held, e)) return -1;
	if (fs_exists(file) && fs_read_file(file, &text, e)) return -1;
	found = look_up(file, buf_str(&text), name, fingerprint, &known, e);
	if (found < 0) return -1;
	if (found) return 0;
	if (known)
		return err_set(
			e, ERR_DENIED,
			"the host key of '%s' has changed: it is %s now, pinned is %s; somebody may be in between. "
			"If the change is meant, replace its line in '%s'",
			name, fingerprint, known, file);
	if (text.len && text.data[text.len - 1] != '\n') buf_addch(&text, '\n');
	buf_addf(&text, "%s %s\n", name, fingerprint);
	if (buf_check(&text, file, e) || fs_write_file(file, text.data, text.len, 0600, e)) return -1;
	return 1;
}
