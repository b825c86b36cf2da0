/* `runner box-cache` (internal): what packs and unpacks cached folders, started by the box's first process, which
 * itself is small and has no compressors. Its descriptors: the root of the containers' file system, the archive, and a
 * pipe for what it has to tell. */
#include <locale.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "lib/fs.h"
#include "lib/num.h"
#include "lib/secret.h"
#include "runner/sandbox/boxcache.h"

enum { MAX_SECRETS_BYTES = 16 << 20 };

/* The job's secrets → what is looked for. */
static int read_secrets(struct mask *m, struct err *e)
{
	_cleanup_secret_ struct secret text = SECRET_INIT;
	const char *p, *end;

	if (secret_read_fd(BOX_CACHE_SECRETS_FD, "the secrets", MAX_SECRETS_BYTES, &text, e)) return -1;
	p = (const char *)text.data;
	end = p + text.len;
	for (const char *zero; p < end && (zero = memchr(p, 0, (size_t)(end - p))); p = zero + 1) {
		const char *is = memchr(p, '=', (size_t)(zero - p));

		/* One that is too short is in any folder by chance. */
		if (is) (void)mask_add_for_files(m, is + 1, (size_t)(zero - is - 1));
	}
	return p == end ? 0 : err_set(e, ERR_INPUT, "the list of secrets is damaged");
}

int box_cache_main(int argc, char **argv)
{
	struct box_cache_told told = {0};
	__attribute__((cleanup(mask_free))) struct mask *secrets = mask_new();
	struct box_cache_limits l = {.secrets = secrets};
	const char *const *folders;
	struct err e;
	size_t n;

	if (argc < 7 || num_parse(argv[2], 0, INT64_MAX, &l.bytes) || num_parse(argv[3], 0, INT64_MAX, &l.packed) ||
	    num_parse(argv[4], 0, INT64_MAX, &l.files))
		return 2;
	setlocale(LC_CTYPE, "C.UTF-8"); /* names are what they are */
	signal(SIGPIPE, SIG_IGN);
	folders = (const char *const *)(argv + 6);
	n = (size_t)argc - 6;
	if (!strcmp(argv[1], "put"))
		told.failed = box_cache_unpack(BOX_CACHE_ROOT_FD, folders, n, argv[5], &l, BOX_CACHE_ARCHIVE_FD,
					       &told.r, &told.e);
	else if (read_secrets(secrets, &told.e))
		told.failed = -1;
	else
		told.failed = box_cache_pack(BOX_CACHE_ROOT_FD, folders, n, argv[5], &l, BOX_CACHE_ARCHIVE_FD, &told.r,
					     &told.e);
	return fs_write_all(BOX_CACHE_TOLD_FD, &told, sizeof(told), "report", &e) ? 1 : 0;
}
