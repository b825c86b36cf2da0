/* Looking things up in the packed site. */
#include "site.h"

#include <string.h>

#include "sha256.h"

static int compare(const char *path, size_t len, const char *other)
{
	size_t other_len = strlen(other);
	int order = memcmp(path, other, len < other_len ? len : other_len);

	if (order) return order;
	return len < other_len ? -1 : len > other_len;
}

const struct site_file *site_find(const char *path, size_t len)
{
	size_t low = 0, high = site_nfiles;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = compare(path, len, site_files[middle].path);

		if (order == 0) return &site_files[middle];
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return NULL;
}

const struct site_file *site_damaged(void)
{
	for (size_t i = 0; i < site_nfiles; i++) {
		unsigned char hash[SITE_HASH_BYTES];

		sha256(site_files[i].data, site_files[i].size, hash);
		if (memcmp(hash, site_files[i].sha256, sizeof hash) != 0) return &site_files[i];
	}
	return NULL;
}
