/* `runner image`: makes an image or finds it made, and says where it is. `runner unpack` (internal) is what fills its
 * layers. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runner/cmd.h"
#include "runner/home.h"
#include "runner/sandbox/image.h"
#include "runner/sandbox/unpack.h"

struct show {
	int terminal;
	int shown;   /* anything */
	int percent; /* shown last */
};

/* On a terminal one line that is written over; elsewhere a line for every 10 %. */
static void show_progress(void *arg, const char *line, int percent)
{
	struct show *s = arg;

	s->shown = 1;
	if (s->terminal) {
		fprintf(stderr, percent < 0 ? "\r\033[K%.70s" : "\r\033[K%.70s %d %%", line, percent);
		fflush(stderr);
		return;
	}
	if (percent >= 0 && s->percent >= 0 && percent / 10 == s->percent / 10) return;
	s->percent = percent;
	if (percent < 0)
		fprintf(stderr, "%s\n", line);
	else
		fprintf(stderr, "%3d %% %s\n", percent, line);
}

static int compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* "make,gcc,make" → gcc, make */
static void split_packages(const char *list, struct vec *out)
{
	_cleanup_vec_ struct vec all = VEC_INIT;

	for (const char *p = list; *p;) {
		size_t n = strcspn(p, ", ");

		if (n) vec_take(&all, xstrndup(p, n));
		p += n + (p[n] != '\0');
	}
	if (all.len) qsort(all.items, all.len, sizeof(all.items[0]), compare);
	for (size_t i = 0; i < all.len; i++)
		if (!i || strcmp(all.items[i - 1], all.items[i])) vec_add(out, all.items[i]);
}

static void print(const struct image *image, const char *arch)
{
	printf("image %s\narch %s%s\ndigest %s\n", image->name, arch ? arch : image_host_arch(),
	       image->emulated ? " emulated" : "", image->digest);
	for (size_t i = 0; i < image->layers.len; i++) printf("layer %s\n", image->layers.items[i]);
}

static int run(const char *name, const char *arch, const struct vec *packages, int find_only)
{
	struct show show = {.terminal = isatty(2), .percent = -1};
	struct home home = {0};
	struct image image = {0};
	struct err e = {0};
	int result;

	if (home_open(NULL, &home, &e)) return cmd_fail("image", e.text);
	if (find_only)
		result = image_find(home.cache, name, arch, packages, &image, &e);
	else
		result = image_ensure(home.cache, name, arch, packages, show_progress, &show, &image, &e);
	home_release(&home);
	if (show.shown && show.terminal) fprintf(stderr, result ? "\n" : "\r\033[K");
	if (result < 0) return cmd_fail("image", e.text);
	if (result > 0) return cmd_fail("image", "it is not made yet");
	print(&image, arch);
	image_release(&image);
	return 0;
}

int cmd_image(int argc, char **argv)
{
	static const struct option options[] = {{"arch", required_argument, NULL, 'a'},
						{"packages", required_argument, NULL, 'p'},
						{"find", no_argument, NULL, 'f'},
						{0}};
	_cleanup_vec_ struct vec packages = VEC_INIT;
	const char *arch = NULL;
	int find_only = 0;

	for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) switch (c) {
		case 'a': arch = optarg; break;
		case 'p': split_packages(optarg, &packages); break;
		case 'f': find_only = 1; break;
		default: return cmd_usage("image");
		}
	if (optind != argc - 1) return cmd_usage("image");
	return run(argv[optind], arch, &packages, find_only);
}

int cmd_unpack(int argc, char **argv)
{
	struct err e = {0};

	if (!unpack_main(argc, argv, &e)) return 0;
	fprintf(stderr, "%s\n", e.text);
	return 1;
}
