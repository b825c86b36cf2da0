/* senv decrypt, senv run: a sealed secret of the environment, opened for a file, a pipe or one command. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/child.h"
#include "lib/fs.h"
#include "senv/cli.h"
#include "senv/cmd.h"

struct decrypt_opts {
	const char *key, *output;
	struct cli_sealed sealed;
	int agent;
};

static int parse(int argc, char **argv, struct decrypt_opts *o)
{
	static const struct option options[] = {{"key", required_argument, NULL, 'k'},
						{"prefix", required_argument, NULL, 'p'},
						{"scope", required_argument, NULL, 's'},
						{"agent", no_argument, NULL, 'A'},
						{"output", required_argument, NULL, 'o'},
						{"from", required_argument, NULL, 'F'},
						{NULL, 0, NULL, 0}};
	int c;

	while ((c = getopt_long(argc, argv, "+k:p:o:", options, NULL)) != -1) switch (c) {
		case 'k': o->key = cli_value(argv); break;
		case 'p': o->sealed.prefix = cli_value(argv); break;
		case 's': o->sealed.scope = optarg; break;
		case 'o': o->output = cli_value(argv); break;
		case 'F': o->sealed.from = optarg; break;
		case 'A': o->agent = 1; break;
		default: return -1;
		}
	return 0;
}

static int open_value(const struct decrypt_opts *o, struct secret *value_r, struct err *e)
{
	_cleanup_secret_ struct secret key = SECRET_INIT;

	if (cli_secret_key(o->key, &key, e)) return -1;
	return cli_open(&key, &o->sealed, value_r, e);
}

int senv_decrypt(int argc, char **argv)
{
	_cleanup_secret_ struct secret value = SECRET_INIT;
	struct decrypt_opts o = {.sealed.prefix = "default"};
	struct err e;
	int failed;

	if (parse(argc, argv, &o) || optind != argc || o.agent) return senv_usage(argv[0]);
	if (open_value(&o, &value, &e)) return senv_fail(argv[0], e.text);
	if (o.output)
		failed = fs_write_file(o.output, value.data, value.len, 0600, &e);
	else
		failed = fs_write_all(STDOUT_FILENO, value.data, value.len, "stdout", &e);
	return failed ? senv_fail(argv[0], e.text) : 0;
}

/* The secret as a file that is nowhere: readable from the start by whoever has the descriptor. */
static int memory_file(const struct secret *value, int *fd_r, struct err *e)
{
	_cleanup_close_ int fd = memfd_create("senv", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0) return err_sys(e, "cannot make a memory file");
	/* ssh-add and the like refuse a key that others could read */
	if (fchmod(fd, 0600)) return err_sys(e, "cannot set mode of the memory file");
	if (fs_write_all(fd, value->data, value->len, "memory file", e)) return -1;
	if (lseek(fd, 0, SEEK_SET)) return err_sys(e, "cannot rewind the memory file");
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL))
		return err_sys(e, "cannot seal the memory file");
	*fd_r = fd;
	fd = -1;
	return 0;
}

/* Our environment without the key and the sealed text. */
static void command_env(const char *prefix, struct vec *env_r)
{
	_cleanup_free_ char *sealed = xasprintf("SENV_%s_", prefix);

	for (char **v = environ; *v; v++)
		if (strncmp(*v, "SENV_KEY=", 9) && strncmp(*v, "SENV_PASSPHRASE=", 16) &&
		    strncmp(*v, sealed, strlen(sealed)) && strncmp(*v, "SENV_FILE=", 10))
			vec_add(env_r, *v);
}

static volatile sig_atomic_t command_pid, asked_to_end;

static void pass_on(int sig)
{
	int saved = errno;

	asked_to_end = sig;
	if (command_pid > 0) kill((pid_t)command_pid, sig);
	errno = saved;
}

/* From before there is an agent, so that it is always ended by us. */
static void catch_signals(void)
{
	struct sigaction act = {.sa_handler = pass_on, .sa_flags = SA_RESTART};

	/* A terminal's ^C goes to the command too: the one that decides. */
	signal(SIGINT, SIG_IGN);
	signal(SIGQUIT, SIG_IGN);
	sigaction(SIGTERM, &act, NULL);
	sigaction(SIGHUP, &act, NULL);
}

/* Runs the command, passes on what asks us to end, and gives its exit status as a shell would. */
static int run_command(char **argv, struct vec *env, const struct child_fd *fds, size_t nfds, int *code_r,
		       struct err *e)
{
	/* 0 would mean /dev/null; a closed stdin does too */
	_cleanup_close_ int input = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 10);
	struct child_opts o = {.argv = (const char *const *)argv,
			       .env = (const char *const *)vec_argv(env),
			       .in = input,
			       .out = STDOUT_FILENO,
			       .err = STDERR_FILENO,
			       .fds = fds,
			       .nfds = nfds};
	struct child_status st;
	pid_t pid;

	if (child_start(&o, &pid, NULL, e)) return -1;
	command_pid = pid;
	if (asked_to_end) kill(pid, asked_to_end); /* before there was a command */
	if (child_wait(pid, -1, &st, e)) return -1;
	*code_r = st.end == CHILD_EXITED ? st.code : 128 + st.code;
	return 0;
}

struct agent {
	char *dir, *socket;
	pid_t pid;
};

static void agent_end(struct agent *a)
{
	struct child_status st;
	struct err ignored;

	if (a->pid > 0 && !kill(a->pid, SIGTERM) && child_wait(a->pid, 2000, &st, &ignored)) a->pid = 0;
	if (a->dir && fs_remove_tree(a->dir, &ignored)) a->pid = 0;
	free(a->socket);
	free(a->dir);
}

static int agent_start(struct agent *a, int key_fd, struct vec *env, struct err *e)
{
	const char *run = getenv("XDG_RUNTIME_DIR");
	const char *agent_argv[] = {"ssh-agent", "-D", "-a", NULL, NULL}, *add_argv[] = {"ssh-add", "-q", "-", NULL};
	struct child_opts agent = {.argv = agent_argv, .die_with_parent = 1, .setsid = 1};
	struct child_opts add = {.argv = add_argv, .in = key_fd};
	_cleanup_close_ int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	int64_t deadline = clock_mono_ms() + 10000;
	_cleanup_buf_ struct buf said = BUF_INIT(4096);
	struct child_status st;

	if (fs_temp_dir(run && *run && !access(run, W_OK) ? run : "/tmp", "senv-agent-", &a->dir, e)) return -1;
	a->socket = xasprintf("%s/socket", a->dir);
	agent_argv[3] = a->socket;
	agent.out = null;
	vec_setenv(env, "SSH_AUTH_SOCK", a->socket);
	agent.env = add.env = (const char *const *)vec_argv(env);
	if (child_start(&agent, &a->pid, NULL, e)) return -1;
	while (!fs_exists(a->socket)) {
		if (clock_mono_ms() > deadline) return err_set(e, ERR_REMOTE, "ssh-agent made no socket in 10 s");
		usleep(2000);
	}
	if (child_run(&add, NULL, 10000, NULL, &said, &st, e)) return -1;
	if (!child_ok(st)) return err_set(e, ERR_REMOTE, "ssh-add %s; is the secret an ssh key?", child_status_str(st));
	return 0;
}

static int run_with(const struct decrypt_opts *o, char **argv, int *code_r, struct err *e)
{
	_cleanup_secret_ struct secret value = SECRET_INIT;
	__attribute__((cleanup(agent_end))) struct agent agent = {0};
	_cleanup_vec_ struct vec env = VEC_INIT;
	_cleanup_close_ int fd = -1;
	struct child_fd pass = {.to = 3};

	if (open_value(o, &value, e) || memory_file(&value, &fd, e)) return -1;
	secret_release(&value);
	command_env(o->sealed.prefix, &env);
	catch_signals();
	if (o->agent) {
		if (agent_start(&agent, fd, &env, e)) return -1;
		close_p(&fd);
		return run_command(argv, &env, NULL, 0, code_r, e);
	}
	pass.from = fd;
	vec_setenv(&env, "SENV_FILE", "/dev/fd/3");
	return run_command(argv, &env, &pass, 1, code_r, e);
}

int senv_run(int argc, char **argv)
{
	struct decrypt_opts o = {.sealed.prefix = "default"};
	struct err e;
	int code;

	if (parse(argc, argv, &o) || optind == argc || o.output) return senv_usage(argv[0]);
	if (run_with(&o, argv + optind, &code, &e)) return senv_fail(argv[0], e.text);
	return code;
}
