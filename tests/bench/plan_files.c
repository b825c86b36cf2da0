/* Planning in one process: `plan_files ROUNDS FILE…` prints the milliseconds that each round over all files took, as a
 * JSON list. Files are read before the clock starts. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "lib/fs.h"
#include "lib/num.h"
#include "runner/plan/plan.h"

struct file {
	const char *name;
	struct buf bytes;
};

static double now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static size_t plan_one(const struct file *f)
{
	struct plan_context cx = {.kind = EVENT_PUSH, .branch = "master", .any_branch = 1};
	struct plan_problems problems;
	struct plan plan = {0};
	size_t jobs;
	struct err e;

	cx.dialect = plan_dialect_of(f->name, buf_str(&f->bytes), f->bytes.len);
	if (plan_make(f->name, buf_str(&f->bytes), f->bytes.len, &cx, &plan, &problems, &e)) die("%s", e.text);
	jobs = plan.njobs;
	plan_problems_release(&problems);
	plan_release(&plan);
	return jobs;
}

int main(int argc, char **argv)
{
	int64_t rounds = 0;
	int n = argc - 2;
	struct file *files = xcalloc((size_t)argc, sizeof(*files));
	struct err e;

	if (argc < 3 || num_parse(argv[1], 1, 1000, &rounds)) return 2;
	for (int i = 0; i < n; i++) {
		files[i] = (struct file){argv[i + 2], BUF_INIT(PLAN_MAX_FILE_BYTES)};
		if (fs_read_file(files[i].name, &files[i].bytes, &e)) die("%s", e.text);
	}
	printf("[");
	for (int64_t r = 0; r < rounds; r++) {
		double began = now_ms();

		for (int i = 0; i < n; i++) (void)plan_one(&files[i]);
		printf("%s%.3f", r ? ", " : "", now_ms() - began);
	}
	printf("]\n");
	for (int i = 0; i < n; i++) buf_release(&files[i].bytes);
	free(files);
	return 0;
}
