#include "tests/unit/unit.h"

#include "lib/buf.h"
#include "lib/yaml.h"

static void refused_at(const void *data, size_t len, int line, int col, const char *text)
{
	struct yaml_doc doc = {0};
	struct yaml_place at = {0};
	struct err e;

	assert_refused(yaml_parse(data, len, YAML_STRICT, &doc, &at, &e), e, ERR_INPUT, text);
	assert_int_equal(at.line, line);
	assert_int_equal(at.col, col);
}

static void refused(const char *text, int line, int col, const char *why)
{
	refused_at(text, strlen(text), line, col, why);
}

static void parse(const char *text, struct yaml_doc *doc)
{
	struct yaml_place at;
	struct err e;

	assert_done(yaml_parse(text, strlen(text), YAML_STRICT, doc, &at, &e), e);
}

static void test_tree_and_places(void **state)
{
	_cleanup_yaml_ struct yaml_doc doc = {0};
	const struct yaml_node *list;

	(void)state;
	parse("\xef\xbb\xbfé: 1.10\r\nb:\r\n  - 'x'\r\n  - ~\r\n  - |\r\n    two\r\n    lines\r\n", &doc);
	assert_int_equal(doc.root->kind, YAML_MAP);
	assert_int_equal(doc.root->len, 2);
	assert_string_equal(yaml_get(doc.root, "é")->text, "1.10");
	assert_int_equal(yaml_get(doc.root, "é")->col, 4);
	assert_int_equal(doc.root->pairs[1].key->line, 2);
	list = yaml_get(doc.root, "b");
	assert_int_equal(list->len, 3);
	assert_int_equal(list->items[0]->line, 3);
	assert_int_equal(list->items[0]->col, 5);
	assert_true(list->items[0]->quoted);
	assert_false(yaml_is_null(list->items[0]));
	assert_true(yaml_is_null(list->items[1]));
	assert_string_equal(list->items[2]->text, "two\nlines\n");
	assert_null(yaml_get(doc.root, "c"));
	assert_null(yaml_get(list, "c"));
}

static void test_empty(void **state)
{
	_cleanup_yaml_ struct yaml_doc doc = {0};
	struct yaml_doc again = {0};

	(void)state;
	parse("", &doc);
	assert_null(doc.root);
	parse("# only a comment\n", &again);
	assert_null(again.root);
	yaml_doc_release(&again);
}

static void test_aliases_and_merge_keys(void **state)
{
	_cleanup_yaml_ struct yaml_doc doc = {0};
	const struct yaml_node *job;

	(void)state;
	parse("base: &b {a: 1, c: 2}\nmore: &m {c: 3, d: 4}\njob:\n  <<: [*b, *m]\n  a: own\nlist: *b\n", &doc);
	job = yaml_get(doc.root, "job");
	assert_string_equal(yaml_get(job, "a")->text, "own");
	assert_string_equal(yaml_get(job, "c")->text, "2");
	assert_string_equal(yaml_get(job, "d")->text, "4");
	assert_null(yaml_get(job, "<<"));
	assert_ptr_equal(yaml_get(doc.root, "list"), yaml_get(doc.root, "base"));
	assert_int_equal(doc.nrepeats, 0);
}

static void test_repeated_keys_are_reported_and_the_last_counts(void **state)
{
	_cleanup_yaml_ struct yaml_doc doc = {0};

	(void)state;
	parse("a: 1\nb: 2\na: 3\n", &doc);
	assert_int_equal(doc.nrepeats, 1);
	assert_string_equal(doc.repeats[0].key, "a");
	assert_int_equal(doc.repeats[0].at.line, 3);
	assert_int_equal(doc.repeats[0].first.line, 1);
	assert_string_equal(yaml_get(doc.root, "a")->text, "3");
}

static void test_refusals(void **state)
{
	(void)state;
	refused_at("a: b\0c\n", 7, 1, 5, "NUL character");
	refused("a: \"x\\0y\"\n", 1, 4, "NUL character in a text");
	refused("ok: 1\né: \xff\n", 2, 4, "byte 0xff is not UTF-8");
	refused("a: \xc0\xaf\n", 1, 4, "byte 0xc0 is not UTF-8");
	refused("a: \xed\xa0\x80\n", 1, 4, "byte 0xed is not UTF-8");
	refused("a: b\x1b[m\n", 1, 5, "control character U+001B");
	refused("a:\n\t- b\n", 2, 1, "not YAML: a tab stands where only spaces may");
	refused("a: b: c\n", 1, 5, "not YAML: mapping values are not allowed in this context");
	refused("a: [b\nc: d\n", 2, 2,
		"not YAML: did not find expected ',' or ']', while parsing a flow sequence that begins in line 1");
	refused("a: *nope\n", 1, 4, "unknown alias '*nope'");
	refused("a: &x [*x]\n", 1, 8, "an alias stands inside what it names");
	refused("? [a]\n: b\n", 1, 3, "a key must be text");
	refused("a: {<<: 1}\n", 1, 5, "'<<' takes a mapping, or a list of them");
	refused("a: 1\n---\nb: 2\n", 2, 1, "a second document begins here; only one is read");
}

static void repeat(struct buf *b, const char *s, int times)
{
	while (times--) buf_adds(b, s);
}

static void refused_buf(const struct buf *b, int line, int col, const char *text)
{
	int64_t before = clock_mono_ms();

	refused_at(b->data, b->len, line, col, text);
	assert_true(clock_mono_ms() - before < 2000);
}

static void test_hostile_sizes(void **state)
{
	_cleanup_buf_ struct buf b = BUF_INIT(1 << 22);

	(void)state;
	repeat(&b, "[", 100000);
	refused_buf(&b, 1, YAML_MAX_DEPTH + 1, "nested too deep");
	buf_clear(&b);
	repeat(&b, "- ", 100000);
	refused_buf(&b, 1, 2 * YAML_MAX_DEPTH + 1, "nested too deep");
	buf_clear(&b);
	repeat(&b, "- a\n", 200000);
	refused_buf(&b, YAML_MAX_NODES, 3, "more than 50000 values, aliases counted as copies");
	buf_clear(&b);
	buf_adds(&b, "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
	for (int i = 1; i < 9; i++)
		buf_addf(&b, "a%d: &a%d [*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d]\n", i, i, i - 1, i - 1,
			 i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1);
	refused_buf(&b, 5, 22, "more than 50000 values, aliases counted as copies");
	buf_clear(&b);
	for (int i = 0; i < 300; i++) buf_addf(&b, "k%d: &a%d {<<: *a%d, x%d: 1}\n", i, i, i ? i - 1 : 0, i);
	refused_buf(&b, 1, 14, "an alias stands inside what it names");
	buf_clear(&b);
	for (int i = 0; i < 300; i++) buf_addf(&b, "k%d: &a%d 1\n", i, i);
	refused_buf(&b, 257, 7, "too many anchors");
	buf_clear(&b);
	repeat(&b, "%TAG !a! b\n", 1000);
	refused_buf(&b, 17, 1, "more than 16 lines begin with '%'");
	buf_clear(&b);
	repeat(&b, "x", YAML_MAX_BYTES + 1);
	refused_buf(&b, 1, 1, "larger than 1048576 bytes");
}

static void test_deep_by_aliases(void **state)
{
	_cleanup_buf_ struct buf b = BUF_INIT(1 << 22);

	(void)state;
	buf_adds(&b, "a0: &a0 [x]\n");
	for (int i = 1; i < 200; i++) buf_addf(&b, "a%d: &a%d [*a%d]\n", i, i, i - 1);
	refused_buf(&b, 63, 12, "nested too deep by aliases");
}

/* --- lenient --- */

static void test_lenient(void **state)
{
	static const char text[] = "a: *nothing\nb: {<<: *nothing, c: 1}\n---\nd: 2\n";
	_cleanup_yaml_ struct yaml_doc doc = {0};
	struct yaml_place at;
	struct err e;

	(void)state;
	refused(text, 1, 4, "unknown alias '*nothing'");
	assert_done(yaml_parse(text, strlen(text), YAML_LENIENT, &doc, &at, &e), e);
	assert_int_equal(doc.root->len, 2);
	assert_true(yaml_is_null(yaml_get(doc.root, "a")));
	assert_string_equal(yaml_get(yaml_get(doc.root, "b"), "c")->text, "1");
	assert_int_equal(doc.npardons, 4);
	assert_string_equal(doc.pardons[0].text, "unknown alias '*nothing': read as nothing");
	assert_int_equal(doc.pardons[0].at.line, 1);
	assert_string_equal(doc.pardons[2].text, "'<<' takes a mapping, or a list of them: left out");
	assert_string_equal(doc.pardons[3].text, "a second document begins here: left out");
	assert_int_equal(doc.pardons[3].at.line, 3);
}

/* A large text behind an alias is large as often as it is named. */
static void test_text_behind_aliases_is_counted(void **state)
{
	_cleanup_buf_ struct buf b = BUF_INIT(YAML_MAX_BYTES);

	(void)state;
	buf_adds(&b, "a: &a '");
	for (int i = 0; i < 50000; i++) buf_adds(&b, "xxxxxxxxxx");
	buf_adds(&b, "'\nb: [");
	for (int i = 0; i < 20; i++) buf_adds(&b, "*a, ");
	buf_adds(&b, "]\n");
	refused(buf_str(&b), 2, 33, "more than 4194304 bytes of text, aliases counted as copies");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tree_and_places),
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_aliases_and_merge_keys),
		cmocka_unit_test(test_repeated_keys_are_reported_and_the_last_counts),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_hostile_sizes),
		cmocka_unit_test(test_deep_by_aliases),
		cmocka_unit_test(test_lenient),
		cmocka_unit_test(test_text_behind_aliases_is_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
