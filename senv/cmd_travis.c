/* senv travis encrypt|decrypt: travis-senv's command line. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/fs.h"
#include "senv/cli.h"
#include "senv/cmd.h"
#include "senv/travis.h"

struct travis_opts {
	const char *prefix;
	long chunk;
};

static int parse(int argc, char **argv, struct travis_opts *o)
{
	static const struct option options[] = {{"prefix", required_argument, NULL, 'p'},
						{"chunk-size", required_argument, NULL, 'c'},
						{NULL, 0, NULL, 0}};
	char *end;
	int c;

	while ((c = getopt_long(argc, argv, "p:c:", options, NULL)) != -1) switch (c) {
		case 'p': o->prefix = cli_value(argv); break;
		case 'c':
			errno = 0;
			o->chunk = strtol(cli_value(argv), &end, 10);
			if (errno || *end || !*cli_value(argv)) return -1;
			break;
		default: return -1;
		}
	return 0;
}

static int write_new(const char *path, const struct secret *text, struct err *e)
{
	/* The lines hold the value in the clear: for the owner only. */
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd < 0 && errno == EEXIST)
		return err_set(e, ERR_INPUT, "%s output file already exists. Delete it first.", path);
	if (fd < 0) return err_sys(e, "cannot create '%s'", path);
	if (!fs_write_all(fd, text->data, text->len, path, e)) return 0;
	unlink(path);
	return -1;
}

static int encrypt(const struct travis_opts *o, const char *input, const char *output, struct err *e)
{
	_cleanup_secret_ struct secret value = SECRET_INIT, text = SECRET_INIT;

	if (secret_read_file(input, CLI_MAX_INPUT, &value, e)) return -1;
	if (travis_lines(o->prefix, &value, o->chunk, &text, e) || write_new(output, &text, e)) return -1;
	printf("Now run this to add it to your travis.yml:\n  cat %s | travis encrypt -ps --add\n\n"
	       "You can decrypt it from within a Travis VM by:\n  senv travis decrypt -p=%s\n\n",
	       output, o->prefix);
	return 0;
}

static const char *from_environment(const char *name, void *arg)
{
	(void)arg;
	return getenv(name);
}

static int decrypt(const struct travis_opts *o, struct err *e)
{
	_cleanup_secret_ struct secret value = SECRET_INIT;

	if (travis_value(o->prefix, from_environment, NULL, &value, e)) return -1;
	return fs_write_all(STDOUT_FILENO, value.data, value.len, "stdout", e);
}

int senv_travis(int argc, char **argv)
{
	struct travis_opts o = {.prefix = "default", .chunk = TRAVIS_CHUNK};
	struct err e;

	if (argc < 2 || parse(argc - 1, argv + 1, &o)) return senv_usage(argv[0]);
	if (!strcmp(argv[1], "encrypt") && argc - 1 - optind == 2) {
		if (!encrypt(&o, argv[1 + optind], argv[2 + optind], &e)) return 0;
	} else if (!strcmp(argv[1], "decrypt") && argc - 1 == optind) {
		if (!decrypt(&o, &e)) return 0;
	} else {
		return senv_usage(argv[0]);
	}
	return senv_fail("travis", e.text);
}
