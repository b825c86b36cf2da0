/* May `latest` move to the image that is published? */
#include "runner/publish/forward.h"

#include <string.h>

#include "runner/publish/git2.h"
#include "runner/publish/manifest.h"

/* Of another repository, branch or cell? NULL: no; a member that is empty on either side tells nothing. */
static const char *why_not_ours(const struct forward *f, char **note_r)
{
	static const char *const members[] = {"repository", "branch", "backend", "arch"};

	for (size_t i = 0; i < ARRAY_LEN(members); i++) {
		const char *theirs = json_string_or(f->there, members[i], ""),
			   *ours = json_string_or(f->ours, members[i], "");

		if (!*theirs || !*ours || !strcmp(theirs, ours)) continue;
		*note_r = xasprintf("latest stays at %s, which is of %s '%s': this one is of '%s'", f->named,
				    members[i], theirs, ours);
		return members[i];
	}
	return NULL;
}

/* 1: ours is newer, 0: theirs is, 2: neither is behind the other, or the mirror does not have both */
static int compare(const struct forward *f, const char *commit, struct err *e)
{
	_cleanup_git_(git_repository) git_repository *source = NULL;
	_cleanup_git_(git_odb) git_odb *odb = NULL;
	git_oid theirs, ours;
	int newer, older;

	if (!f->mirror || git_oid_fromstr(&theirs, f->named) || git_oid_fromstr(&ours, commit)) return 2;
	if (git_repository_open_bare(&source, f->mirror) || git_repository_odb(&odb, source))
		return git2_fail(e, ERR_SYS, "cannot ask the source mirror '%s' which commit is newer", f->mirror);
	if (!git_odb_exists(odb, &theirs) || !git_odb_exists(odb, &ours)) return 2;
	newer = git_graph_descendant_of(source, &theirs, &ours);
	older = newer == 0 ? git_graph_descendant_of(source, &ours, &theirs) : 0;
	if (newer < 0 || older < 0)
		return git2_fail(e, ERR_SYS, "cannot tell whether '%s' is newer than '%s'", f->named, commit);
	return newer ? 0 : older ? 1 : 2;
}

int forward_may_move(const struct forward *f, char **note_r, struct err *e)
{
	const char *commit = json_string_or(f->ours, "commit", "");
	int64_t theirs = json_int_or(f->there, "event", 0), ours = json_int_or(f->ours, "event", 0);
	int rc;

	if (!f->wanted) {
		*note_r = xasprintf("latest stays at %s: this publication does not move it",
				    *f->named ? f->named : "nothing");
		return 0;
	}
	if (!*f->named || (f->there && why_not_ours(f, note_r))) return !*f->named;
	if (!strcmp(f->named, commit)) return 1;
	rc = compare(f, commit, e);
	if (rc < 0 || rc == 1) return rc;
	if (rc == 0) {
		*note_r = xasprintf("latest stays at %s, which is newer than %s", f->named, commit);
		return 0;
	}
	if (theirs > 0 && ours > 0 && theirs > ours) {
		*note_r = xasprintf("latest stays at %s, which was pushed after %s: neither is behind the other",
				    f->named, commit);
		return 0;
	}
	return 1;
}
