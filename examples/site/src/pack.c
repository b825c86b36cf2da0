/* pack FOLDER COMMIT: writes, on standard output, the assembler source of the packed site (site.h): every file of the
 * folder by .incbin, and the table of paths, types and hashes. Runs on the build machine only. The output depends on
 * the folder's names and bytes and on COMMIT alone: no time, no order of the disk. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "sha256.h"
#include "site.h"

enum { FILES_MAX = 4096 };

static const struct {
	const char *end, *type;
} types[] = {
	{".avif", "image/avif"},
	{".css", "text/css; charset=utf-8"},
	{".gif", "image/gif"},
	{".htm", "text/html; charset=utf-8"},
	{".html", "text/html; charset=utf-8"},
	{".ico", "image/x-icon"},
	{".jpeg", "image/jpeg"},
	{".jpg", "image/jpeg"},
	{".js", "text/javascript; charset=utf-8"},
	{".json", "application/json"},
	{".md", "text/markdown; charset=utf-8"},
	{".mjs", "text/javascript; charset=utf-8"},
	{".pdf", "application/pdf"},
	{".png", "image/png"},
	{".svg", "image/svg+xml"},
	{".txt", "text/plain; charset=utf-8"},
	{".wasm", "application/wasm"},
	{".webmanifest", "application/manifest+json"},
	{".webp", "image/webp"},
	{".woff", "font/woff"},
	{".woff2", "font/woff2"},
	{".xml", "application/xml"},
};

static char *paths[FILES_MAX]; /* below the folder, with the leading slash */
static size_t npaths;

static _Noreturn void refuse(const char *what, const char *subject, const char *why)
{
	fprintf(stderr, "pack: %s '%s': %s\n", what, subject, why);
	exit(1);
}

static char *joined(const char *a, const char *b, const char *c)
{
	size_t size = strlen(a) + strlen(b) + strlen(c) + 1;
	char *s = malloc(size);

	if (!s) refuse("cannot pack", a, "no memory");
	snprintf(s, size, "%s%s%s", a, b, c);
	return s;
}

/* What could not stand in an assembler string or would be no single path for a browser is refused. */
static void check_name(const char *name)
{
	for (const char *p = name; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f || *p == '"' || *p == '\\')
			refuse("cannot pack", name, "a quote, backslash or control character in its name");
}

static void collect(const char *folder, const char *path)
{
	char *here = joined(folder, path, "");
	DIR *d = opendir(here);
	struct dirent *entry;

	if (!d) refuse("cannot open folder", here, strerror(errno));
	while (errno = 0, (entry = readdir(d))) {
		char *name, *file;
		struct stat st;

		if (entry->d_name[0] == '.') continue;
		check_name(entry->d_name);
		name = joined(path, "/", entry->d_name);
		file = joined(folder, name, "");
		if (stat(file, &st) < 0) refuse("cannot read", file, strerror(errno));
		if (strlen(name) > SITE_PATH_MAX) refuse("cannot pack", name, "its path is too long");
		if (S_ISDIR(st.st_mode)) {
			collect(folder, name);
			free(name);
		} else if (!S_ISREG(st.st_mode)) {
			refuse("cannot pack", file, "neither a file nor a folder");
		} else {
			if (npaths == FILES_MAX) refuse("cannot pack", folder, "too many files");
			paths[npaths++] = name;
		}
		free(file);
	}
	if (errno) refuse("cannot read folder", here, strerror(errno));
	closedir(d);
	free(here);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static const char *type_of(const char *path)
{
	size_t len = strlen(path);

	for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
		size_t end = strlen(types[i].end);

		if (len > end && strcmp(path + len - end, types[i].end) == 0) return types[i].type;
	}
	return "application/octet-stream";
}

static unsigned char *content(const char *file, size_t *size_r)
{
	FILE *f = fopen(file, "rb");
	struct stat st;
	unsigned char *data;

	if (!f || fstat(fileno(f), &st) < 0) refuse("cannot read", file, strerror(errno));
	data = malloc((size_t)st.st_size + 1);
	if (!data) refuse("cannot read", file, "no memory");
	*size_r = fread(data, 1, (size_t)st.st_size + 1, f);
	if (ferror(f) || *size_r != (size_t)st.st_size) refuse("cannot read", file, "it changed meanwhile");
	fclose(f);
	return data;
}

static void put_content(size_t i, const char *folder)
{
	char *file = joined(folder, paths[i], "");
	unsigned char hash[SITE_HASH_BYTES], *data;
	size_t size;

	data = content(file, &size);
	sha256(data, size, hash);
	printf("\t.balign 16\ndata%zu:\n\t.incbin \"%s\"\ndata%zu_end:\n", i, file, i);
	printf("path%zu:\t.asciz \"%s\"\ntype%zu:\t.asciz \"%s\"\n", i, paths[i], i, type_of(paths[i]));
	printf("etag%zu:\t.asciz \"\\\"", i);
	for (size_t k = 0; k < 16; k++) printf("%02x", hash[k]);
	printf("\\\"\"\nhash%zu:\t.byte ", i);
	for (size_t k = 0; k < sizeof hash; k++) printf("%s0x%02x", k ? "," : "", hash[k]);
	/* The assembler reads the file again: what it takes must be as long as what was hashed. */
	printf("\n\t.if data%zu_end - data%zu - %zu\n\t.error \"'%s' changed meanwhile\"\n\t.endif\n", i, i, size,
	       paths[i]);
	free(data);
	free(file);
}

int main(int argc, char **argv)
{
	if (argc != 3) {
		fprintf(stderr, "usage: pack FOLDER COMMIT\n");
		return 2;
	}
	for (const char *p = argv[2]; *p; p++)
		if (!strchr("0123456789abcdefghijklmnopqrstuvwxyz", *p) || p - argv[2] >= 64)
			refuse("not a commit", argv[2], "expected hex digits or a word");
	collect(argv[1], "");
	if (npaths == 0) refuse("cannot pack", argv[1], "no files in it");
	qsort(paths, npaths, sizeof *paths, by_name);

	printf("\t.section .rodata\n");
	for (size_t i = 0; i < npaths; i++) put_content(i, argv[1]);
	printf("\t.globl site_commit\nsite_commit:\t.asciz \"%s\"\n", *argv[2] ? argv[2] : "unknown");
	printf("\t.balign 8\n\t.globl site_nfiles\nsite_nfiles:\t.8byte %zu\n", npaths);
	printf("\t.section .data.rel.ro, \"aw\"\n\t.balign 8\n\t.globl site_files\nsite_files:\n");
	for (size_t i = 0; i < npaths; i++)
		printf("\t.8byte path%zu, type%zu, etag%zu, data%zu, data%zu_end - data%zu, hash%zu\n", i, i, i, i, i,
		       i, i);
	printf("\t.section .note.GNU-stack, \"\", %%progbits\n");
	return fflush(stdout) || ferror(stdout) ? 1 : 0;
}
