/* `runner box-cache` (internal): what packs and unpacks cached folders, started by the box's first process, which
 * itself is small and has no compressors. Its descriptors: the root of the containers' file system, the archive, and a
 * pipe for what it has to tell. */
#include <locale.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "lib/fs.h"
#include "lib/num.h"
#include "runner/sandbox/boxcache.h"

int box_cache_main(int argc, char **argv)
{
	struct box_cache_told told = {0};
	struct box_cache_limits l;
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
	else
		told.failed = box_cache_pack(BOX_CACHE_ROOT_FD, folders, n, argv[5], &l, BOX_CACHE_ARCHIVE_FD, &told.r,
					     &told.e);
	return fs_write_all(BOX_CACHE_TOLD_FD, &told, sizeof(told), "report", &e) ? 1 : 0;
}
