/* Numbers from outside. strtol takes white space, signs and what stands behind for granted. */
#include "lib/num.h"

int num_parse(const char *s, int64_t least, int64_t most, int64_t *n_r)
{
	int64_t n = 0;

	if (!*s) return -1;
	for (; *s; s++) {
		int digit = *s - '0';

		if (digit < 0 || digit > 9 || n > (most - digit) / 10) return -1;
		n = 10 * n + digit;
	}
	if (n < least || n > most) return -1;
	*n_r = n;
	return 0;
}

int num_parse_int(const char *s, int least, int most, int *n_r)
{
	int64_t n;

	if (num_parse(s, least, most, &n)) return -1;
	*n_r = (int)n;
	return 0;
}
