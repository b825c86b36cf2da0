/* Any bytes as a signature, a public key, a secret key or a trusted comment; what is taken comes out unchanged. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "runner/publish/minisign.h"
#include "runner/publish/stamp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void stamp(const char *text)
{
	static struct stamp s, back;
	_cleanup_free_ char *again = NULL;
	struct err e;

	if (stamp_parse(text, &s, &e)) return;
	again = stamp_text(&s);
	if (stamp_parse(again, &back, &e) || strcmp(s.path, back.path) || strcmp(s.repository, back.repository) ||
	    s.sequence != back.sequence)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_secret_ struct secret text = SECRET_INIT, key = SECRET_INIT;
	_cleanup_free_ char *line = xstrndup((const char *)data, size);
	static struct minisign_signature s;
	struct minisign_public pub, back;
	static int started;
	struct err e;

	if (!started++) secret_setup();
	secret_set(&text, data, size);
	if (!minisign_secret_parse(&text, &key, &e)) minisign_public_of(&key, &pub);
	if (!minisign_public_parse((const char *)data, size, &pub, &e)) {
		_cleanup_free_ char *again = minisign_public_text(&pub);

		if (minisign_public_parse(again, strlen(again), &back, &e) || memcmp(&pub, &back, sizeof(pub))) abort();
		if (!minisign_signature_parse((const char *)data, size, &s, &e) &&
		    !minisign_verify(&pub, &s, data, size, &e))
			abort();
	}
	if (!minisign_signature_parse((const char *)data, size, &s, &e)) stamp(s.comment);
	stamp(line);
	return 0;
}
