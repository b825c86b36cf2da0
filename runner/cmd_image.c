/* `runner image`: makes an image or finds it made, and says where it is; and the catalogue. `runner unpack` (internal)
 * is what fills its layers. */
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/fs.h"
#include "runner/cmd.h"
#include "runner/home.h"
#include "runner/images.h"
#include "runner/sandbox/image.h"
#include "runner/sandbox/unpack.h"

enum { RESULT_FD = 3 };

struct show {
	int terminal;
	int shown;   /* anything */
	int percent; /* shown last */
	char line[80];
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
	/* What begins is told, though it is at 0 % as the thing before it was. */
	if (percent >= 0 && s->percent >= 0 && percent / 10 == s->percent / 10 &&
	    (percent || !strncmp(s->line, line, sizeof(s->line) - 1)))
		return;
	s->percent = percent;
	snprintf(s->line, sizeof(s->line), "%s", line);
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

enum what { MAKE, FIND, RESOLVE };

/* To a job's leader on its descriptor, to a person as a line. */
static int tell_digest(const char *digest, struct err *e)
{
	if (fcntl(RESULT_FD, F_GETFD) >= 0) return fs_write_all(RESULT_FD, digest, strlen(digest), "the result", e);
	printf("%s\n", digest);
	return 0;
}

static int run(const struct image_ask *wanted, const char *name, enum what what, struct err *e)
{
	_cleanup_free_ char *reference = NULL, *digest = NULL;
	struct show show = {.terminal = isatty(2), .percent = -1};
	struct image_ask ask = *wanted;
	struct home home = {0};
	struct image image = {0};
	int result;

	if (home_open(NULL, &home, e)) return -1;
	result = images_lookup(&home, name, &reference, e);
	ask.cache = home.cache;
	ask.name = reference;
	ask.progress = show_progress;
	ask.arg = &show;
	if (!result && what == RESOLVE)
		result = image_resolve(&ask, &digest, e) || tell_digest(digest ? digest : "", e) ? -1 : 0;
	else if (!result)
		result = what == FIND ? image_find(&ask, &image, e) : image_ensure(&ask, &image, e);
	home_release(&home);
	if (show.shown && show.terminal) fprintf(stderr, result ? "\n" : "\r\033[K");
	if (result > 0) return err_set(e, ERR_MISSING, "it is not made yet");
	if (!result && what != RESOLVE) print(&image, ask.arch);
	image_release(&image);
	return result;
}

/* list | add NAME REFERENCE | remove NAME. 1: none of them */
static int catalogue(int argc, char **argv, struct err *e)
{
	_cleanup_vec_ struct vec lines = VEC_INIT;
	struct home home = {0};
	int result = 1;

	if (argc < 2) return 1;
	if (home_open(NULL, &home, e)) return -1;
	if (argc == 2 && !strcmp(argv[1], "list"))
		result = images_list(&home, &lines, e);
	else if (argc == 4 && !strcmp(argv[1], "add"))
		result = images_add(&home, argv[2], argv[3], e);
	else if (argc == 3 && !strcmp(argv[1], "remove"))
		result = images_remove(&home, argv[2], e);
	for (size_t i = 0; i < lines.len; i++) printf("%s\n", lines.items[i]);
	home_release(&home);
	return result;
}

int cmd_image(int argc, char **argv)
{
	static const struct option options[] = {{"arch", required_argument, NULL, 'a'},
						{"packages", required_argument, NULL, 'p'},
						{"find", no_argument, NULL, 'f'},
						{"resolve", no_argument, NULL, 'r'},
						{"digest", required_argument, NULL, 'd'},
						{"anonymous", no_argument, NULL, 'n'},
						{0}};
	_cleanup_vec_ struct vec packages = VEC_INIT;
	struct image_ask ask = {.packages = &packages};
	enum what what = MAKE;
	struct err e = {0};
	int done = catalogue(argc, argv, &e);

	if (done <= 0) return done ? cmd_fail("image", e.text) : 0;
	for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) switch (c) {
		case 'a': ask.arch = optarg; break;
		case 'p': split_packages(optarg, &packages); break;
		case 'f': what = FIND; break;
		case 'r': what = RESOLVE; break;
		case 'd': ask.pin = optarg; break;
		case 'n': ask.anonymous = 1; break;
		default: return cmd_usage("image");
		}
	if (optind != argc - 1) return cmd_usage("image");
	return run(&ask, argv[optind], what, &e) ? cmd_fail("image", e.text) : 0;
}

int cmd_unpack(int argc, char **argv)
{
	struct err e = {0};

	if (!unpack_main(argc, argv, &e)) return 0;
	fprintf(stderr, "%s\n", e.text);
	return 1;
}
