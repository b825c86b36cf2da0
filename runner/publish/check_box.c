/* Boot proof in a box of its own: the image as a Unix program that serves, or a command that runs or judges it. The
 * image is a stranger: it gets the job's image as its root, no network, limits, and nothing of ours. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fs.h"
#include "runner/publish/check_parts.h"

static int put_image(struct sandbox *box, const char *file, struct err *e)
{
	_cleanup_close_ int fd = open(file, O_RDONLY | O_CLOEXEC);
	struct stat st;
	void *map;
	int rc;

	if (fd < 0 || fstat(fd, &st)) return err_sys(e, "cannot open image '%s'", file);
	map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (map == MAP_FAILED) return err_sys(e, "cannot map image '%s'", file);
	rc = sandbox_put_file(box, "/image", map, (size_t)st.st_size, 0755, e);
	munmap(map, (size_t)st.st_size);
	return rc;
}

int box_boot(struct trial *t, struct err *e)
{
	const char *const command_argv[] = {"/bin/sh", "-c", t->c->command, NULL};
	_cleanup_free_ char *port = xasprintf("PORT=%d", ntohs(t->address.sin_port));
	_cleanup_free_ char *arch = xasprintf("ARCH=%s", t->env->arch);
	_cleanup_vec_ struct vec argv = VEC_INIT;
	const char *const vars[] = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
				    "HOME=/",
				    "IMAGE=/image",
				    port,
				    arch,
				    NULL};
	struct sandbox_run run = {.env = vars, .cwd = "/", .out = t->out};

	vec_add(&argv, "/image");
	trial_add_args(t, &argv);
	run.argv = t->c->boot == BOOT_COMMAND ? command_argv : (const char *const *)vec_argv(&argv);
	if (trial_box(t, NULL, e) || put_image(t->box, t->env->file, e) || sandbox_start(t->box, &run, e)) return -1;
	close_p(&t->out);
	t->running = 1;
	return 0;
}
