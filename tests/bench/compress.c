/* For tests/bench/compress: our libbz2 over parallel blocks, without the rest of a publication. */
#include <stdio.h>
#include <stdlib.h>

#include "runner/publish/compress.h"

int main(int argc, char **argv)
{
	uint64_t bytes;
	struct err e;

	if (argc != 3 || compress_bz2(argv[1], argv[2], &bytes, &e)) {
		fprintf(stderr, "compress: %s\n", argc != 3 ? "FROM TO" : e.text);
		return 1;
	}
	return 0;
}
