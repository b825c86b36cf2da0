/* `runner doctor`: goes through the rows of doctor_rows.c, prints a line for each, and with --fix runs what mends it.
 * A row is judged again after its commands: what they say of themselves does not count. */
#include "runner/sandbox/doctor.h"

#include <pwd.h>
#include <string.h>
#include <unistd.h>

#include "lib/child.h"
#include "runner/sandbox/doctor_rows.h"

enum { FIX_TIMEOUT_MS = 10 * 60 * 1000 };

/* A word as a shell would want it. */
static void add_word(struct buf *b, const char *word)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./=:,+@%";

	if (*word && strspn(word, plain) == strlen(word)) {
		buf_adds(b, word);
		return;
	}
	buf_addch(b, '\'');
	for (; *word; word++) {
		if (*word == '\'')
			buf_adds(b, "'\\''");
		else
			buf_addch(b, *word);
	}
	buf_addch(b, '\'');
}

static void add_command(struct buf *b, const struct vec *argv, int as_root)
{
	if (!as_root) buf_adds(b, "sudo ");
	for (size_t i = 0; i < argv->len; i++) {
		if (i) buf_addch(b, ' ');
		add_word(b, argv->items[i]);
	}
}

static void print_row(FILE *out, const struct row *row, const struct finding *f, int as_root)
{
	_cleanup_buf_ struct buf fix = BUF_INIT(1 << 16);

	if (f->ok) {
		fprintf(out, "ok   %s%s%s\n", row->name, f->text[0] ? " " : "", f->text);
		return;
	}
	for (size_t i = 0; i < f->ncommands; i++) {
		if (i) buf_adds(&fix, " && ");
		add_command(&fix, &f->commands[i], as_root);
	}
	if (!f->ncommands) buf_adds(&fix, f->manual);
	fprintf(out, "%s %s: %s — fix: %s\n", row->level == ROW_NEEDED ? "lack" : "want", row->name, f->text,
		buf_str(&fix));
}

/* Runs one command, says so, and hands back 0 when it said it worked. */
static int run_command(FILE *out, const struct vec *words, int as_root)
{
	static const char *const sudo[] = {"sudo", "-n", NULL};
	_cleanup_vec_ struct vec argv = VEC_INIT;
	_cleanup_buf_ struct buf shown = BUF_INIT(1 << 16), ignored = BUF_INIT(1 << 20);
	struct err e = {0};
	int failed;

	if (!as_root) vec_add_all(&argv, sudo);
	for (size_t i = 0; i < words->len; i++) vec_add(&argv, words->items[i]);
	add_command(&shown, words, as_root);
	fprintf(out, "run  %s: ", buf_str(&shown));
	fflush(out);
	failed = child_check(&(struct child_opts){.argv = (const char *const *)vec_argv(&argv)}, NULL, FIX_TIMEOUT_MS,
			     &ignored, &e);
	if (failed && ignored.overflow) failed = 0; /* it only talked a lot */
	fprintf(out, "%s%s\n", failed ? "failed: " : "done", failed ? e.text : "");
	return failed;
}

static void mend(FILE *out, const struct row *row, struct patient *p, struct finding *f)
{
	int failed = 0;

	for (size_t i = 0; i < f->ncommands && !failed; i++) failed = run_command(out, &f->commands[i], p->uid == 0);
	finding_release(f);
	row->look(p, f, row->arg);
}

static void patient_init(struct patient *p, const char *cache)
{
	struct passwd *pw = getpwuid(geteuid());

	*p = (struct patient){.uid = geteuid(), .gid = getegid(), .cache = cache};
	p->user = pw ? xstrdup(pw->pw_name) : xasprintf("%lu", (unsigned long)p->uid);
}

int doctor_run(FILE *out, int fix, const char *cache)
{
	struct patient p;
	int lacking = 0;

	patient_init(&p, cache);
	for (size_t i = 0; i < doctor_nrows; i++) {
		const struct row *row = &doctor_rows[i];
		struct finding f = {0};

		if (row->who == ROW_ORDINARY_USER && p.uid == 0) continue;
		row->look(&p, &f, row->arg);
		if (fix && !f.ok && f.ncommands) mend(out, row, &p, &f);
		print_row(out, row, &f, p.uid == 0);
		if (!f.ok && row->level == ROW_NEEDED) lacking = 1;
		finding_release(&f);
	}
	free_p(&p.user);
	return lacking;
}
