/* The masker: one Aho-Corasick automaton over all forms of all secrets, with a skip table before it.
 *
 *   input ──→ skip: no pattern starts here ──→ automaton: occurrences ──→ union of occurrences ──→ output
 *
 * In the root state a table of the last 2 or 3 bytes of a window tells how far the window can jump (Wu and Manber's
 * shift), so ordinary text is touched every few bytes only. When a window may hold the start of a pattern, the
 * automaton takes over until it is back in its root. In a state of depth d the last d bytes may still become part of
 * an occurrence: they, and nothing else, are held back.
 *
 * The automaton is a trie whose nodes stand in the order they were made, so that the child of a node without branches
 * is the next one: 17 bytes a node. Its labels are the secrets, in guarded memory.
 *
 * src: Aho, Corasick 1975; Wu, Manber TR-94-17 1994 */
#include "senv/mask.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lib/err.h"
#include "lib/secret.h"
#include "senv/forms.h"

static const char replacement[] = "[secure]";

enum { MAX_WINDOW = 24, SHIFT_BITS = 16, MAX_BLOCKS = 1 << 13 };

struct node {
	uint32_t fail;  /* longest proper suffix that is a node */
	uint32_t depth; /* bytes from the root */
	uint32_t out;   /* length of the longest pattern that ends here; 0: none */
	uint32_t edges; /* children other than the next node: index into edges, 0 none */
};

struct edge {
	uint32_t child;
	uint32_t next;
	unsigned char label;
};

struct range { /* stream offsets */
	uint64_t from, to;
};

struct mask {
	struct node *nodes;
	size_t nnodes, cap_nodes;
	struct secret labels; /* labels.data[i]: the byte that leads into node i; its len is the capacity */
	unsigned char *chain; /* chain[i]: node i + 1 is a child of node i */
	struct edge *edges;
	size_t nedges, cap_edges;
	size_t shortest, longest, npatterns;
	int too_much;

	int built;
	uint32_t root[256];
	unsigned char shift[1 << SHIFT_BITS];
	size_t window, block;

	uint32_t state;
	uint64_t pos;        /* stream offset of the next input byte */
	uint64_t done;       /* all before it is written, or masked */
	uint64_t carry_from; /* carry holds the input from here to the start of the current feed */
	struct secret carry; /* its len is the capacity */
	struct range *pending;
	size_t npending, cap_pending;
};

struct mask *mask_new(void)
{
	struct mask *m = xcalloc(1, sizeof(*m));

	m->cap_nodes = 256;
	m->nnodes = 1;
	m->nodes = xcalloc(m->cap_nodes, sizeof(*m->nodes));
	m->chain = xcalloc(m->cap_nodes, 1);
	secret_alloc(&m->labels, m->cap_nodes);
	m->nedges = 1; /* 0 is "none" */
	m->shortest = SIZE_MAX;
	return m;
}

void mask_free(struct mask **m)
{
	if (!*m) return;
	secret_release(&(*m)->labels);
	secret_release(&(*m)->carry);
	free((*m)->nodes);
	free((*m)->chain);
	free((*m)->edges);
	free((*m)->pending);
	free(*m);
	*m = NULL;
}

static void grow_secret(struct secret *s, size_t keep, size_t need)
{
	struct secret bigger = SECRET_INIT;

	if (need <= s->len) return;
	secret_alloc(&bigger, need + need / 2);
	if (keep) memcpy(bigger.data, s->data, keep);
	secret_release(s);
	*s = bigger;
}

static uint32_t child_of(const struct mask *m, uint32_t node, unsigned char c)
{
	if (m->chain[node] && m->labels.data[node + 1] == c) return node + 1;
	for (uint32_t e = m->nodes[node].edges; e; e = m->edges[e].next)
		if (m->edges[e].label == c) return m->edges[e].child;
	return 0;
}

static uint32_t add_node(struct mask *m, uint32_t parent, unsigned char c)
{
	uint32_t id = (uint32_t)m->nnodes;

	if (m->nnodes == m->cap_nodes) {
		m->cap_nodes *= 2;
		m->nodes = xrealloc(m->nodes, m->cap_nodes * sizeof(*m->nodes));
		m->chain = xrealloc(m->chain, m->cap_nodes);
		grow_secret(&m->labels, m->nnodes, m->cap_nodes);
	}
	m->nodes[id] = (struct node){.depth = m->nodes[parent].depth + 1};
	m->chain[id] = 0;
	m->labels.data[id] = c;
	m->nnodes++;
	if (parent + 1 == id) {
		m->chain[parent] = 1;
		return id;
	}
	if (m->nedges >= m->cap_edges) {
		m->cap_edges = m->cap_edges ? m->cap_edges * 2 : 64;
		m->edges = xrealloc(m->edges, m->cap_edges * sizeof(*m->edges));
	}
	m->edges[m->nedges] = (struct edge){.child = id, .next = m->nodes[parent].edges, .label = c};
	m->nodes[parent].edges = (uint32_t)m->nedges++;
	return id;
}

static void add_pattern(const unsigned char *p, size_t len, void *arg)
{
	struct mask *m = arg;
	uint32_t node = 0, child;
	size_t i = 0;

	while (i < len && (child = child_of(m, node, p[i]))) node = child, i++;
	if (len - i > MASK_MAX_PATTERN_BYTES - m->nnodes) {
		m->too_much = 1;
		return;
	}
	for (; i < len; i++) node = add_node(m, node, p[i]);
	if (m->nodes[node].out) return;
	m->nodes[node].out = (uint32_t)len;
	m->npatterns++;
	if (len < m->shortest) m->shortest = len;
	if (len > m->longest) m->longest = len;
}

int mask_add(struct mask *m, const void *value, size_t len)
{
	if (m->built) die("mask_add after mask_feed");
	m->too_much = 0;
	return forms_of(value, len, add_pattern, m) || m->too_much;
}

int mask_add_for_files(struct mask *m, const void *value, size_t len)
{
	if (m->built) die("mask_add_for_files after mask_find");
	m->too_much = 0;
	return forms_in_file(value, len, add_pattern, m) || m->too_much;
}

static uint32_t step(const struct mask *m, uint32_t state, unsigned char c)
{
	while (state) {
		uint32_t child = child_of(m, state, c);

		if (child) return child;
		state = m->nodes[state].fail;
	}
	return m->root[c];
}

static void link_child(struct mask *m, uint32_t parent, uint32_t child, uint32_t *queue, size_t *n)
{
	struct node *node = &m->nodes[child];

	if (parent) node->fail = step(m, m->nodes[parent].fail, m->labels.data[child]);
	if (!node->out) node->out = m->nodes[node->fail].out;
	queue[(*n)++] = child;
}

static void link_failures(struct mask *m)
{
	_cleanup_free_ uint32_t *queue = xmalloc(m->nnodes * sizeof(*queue));
	size_t n = 0;

	/* In order of depth: a node's failure link leads to a shallower one, which is ready by then. */
	queue[n++] = 0;
	for (size_t i = 0; i < n; i++) {
		uint32_t node = queue[i];

		if (m->chain[node]) link_child(m, node, node + 1, queue, &n);
		for (uint32_t e = m->nodes[node].edges; e; e = m->edges[e].next)
			link_child(m, node, m->edges[e].child, queue, &n);
	}
}

static unsigned block_hash(const unsigned char *p, size_t block)
{
	uint32_t x = p[0] | (uint32_t)p[1] << 8;

	if (block == 2) return x;
	x |= (uint32_t)p[2] << 16;
	return x * 0x9E3779B1u >> (32 - SHIFT_BITS);
}

static void fill_shift(struct mask *m, uint32_t node, unsigned char *path)
{
	size_t depth = m->nodes[node].depth;

	if (depth >= m->block) {
		unsigned char *slot = &m->shift[block_hash(path + depth - m->block, m->block)];

		if (m->window - depth < *slot) *slot = (unsigned char)(m->window - depth);
	}
	if (depth == m->window) return;
	if (m->chain[node]) {
		path[depth] = m->labels.data[node + 1];
		fill_shift(m, node + 1, path);
	}
	for (uint32_t e = m->nodes[node].edges; e; e = m->edges[e].next) {
		path[depth] = m->edges[e].label;
		fill_shift(m, m->edges[e].child, path);
	}
}

static void build(struct mask *m)
{
	unsigned char path[MAX_WINDOW];

	m->built = 1;
	if (!m->npatterns) return;
	m->root[m->labels.data[1]] = 1;
	for (uint32_t e = m->nodes[0].edges; e; e = m->edges[e].next) m->root[m->edges[e].label] = m->edges[e].child;
	link_failures(m);
	m->window = m->shortest < MAX_WINDOW ? m->shortest : MAX_WINDOW;
	/* A crowded table jumps less far than a shorter window would. */
	while (m->window > 8 && m->npatterns * (m->window - 2) > MAX_BLOCKS) m->window--;
	m->block = m->window < 8 ? 2 : 3;
	memset(m->shift, (int)(m->window - m->block + 1), sizeof(m->shift));
	fill_shift(m, 0, path);
	memset(path, 0, sizeof(path));
}

/* What one feed looks at: data holds the stream from offset base on, the carry what was held back before it. */
struct span {
	const unsigned char *data;
	uint64_t base;
};

static void write_plain(struct mask *m, const struct span *in, uint64_t to, struct buf *out)
{
	if (m->done < to && m->done < in->base) {
		uint64_t end = to < in->base ? to : in->base;

		buf_add(out, m->carry.data + (m->done - m->carry_from), end - m->done);
		m->done = end;
	}
	if (m->done < to) {
		buf_add(out, in->data + (m->done - in->base), to - m->done);
		m->done = to;
	}
}

/* Everything before `certain` is final: no later occurrence starts there. */
static void flush(struct mask *m, const struct span *in, uint64_t certain, struct buf *out)
{
	size_t n = 0;

	for (; n < m->npending && m->pending[n].from < certain; n++) {
		write_plain(m, in, m->pending[n].from, out);
		buf_add(out, replacement, sizeof(replacement) - 1);
		m->done = m->pending[n].to;
	}
	m->npending -= n;
	if (n) memmove(m->pending, m->pending + n, m->npending * sizeof(*m->pending));
	write_plain(m, in, certain, out);
}

/* An occurrence. Those found later end later, but may start earlier. */
static void found(struct mask *m, struct range r)
{
	if (r.from < m->done) { /* overlaps what was masked last; all that is pending lies inside it */
		m->done = r.to;
		m->npending = 0;
		return;
	}
	while (m->npending && m->pending[m->npending - 1].to > r.from) {
		m->npending--;
		if (m->pending[m->npending].from < r.from) r.from = m->pending[m->npending].from;
	}
	if (m->npending == m->cap_pending) {
		m->cap_pending = m->cap_pending ? m->cap_pending * 2 : 16;
		m->pending = xrealloc(m->pending, m->cap_pending * sizeof(*m->pending));
	}
	m->pending[m->npending++] = r;
}

/* The next place at or after i where an occurrence may start, or where too little is left to tell. */
static size_t skip(const struct mask *m, const unsigned char *data, size_t i, size_t len)
{
	size_t block = m->block, at = m->window - block;

	if (block == 2) {
		while (i + m->window <= len) {
			unsigned jump = m->shift[block_hash(data + i + at, 2)];

			if (!jump) return i;
			i += jump;
		}
		return i;
	}
	while (i + m->window <= len) {
		unsigned jump = m->shift[block_hash(data + i + at, 3)];

		if (!jump) return i;
		i += jump;
	}
	return i;
}

/* Keeps what is not certain yet for the next feed. */
static void keep_carry(struct mask *m, const struct span *in)
{
	size_t n = m->pos - m->done, old = m->done < in->base ? in->base - m->done : 0;

	grow_secret(&m->carry, m->carry.data ? in->base - m->carry_from : 0, n);
	if (old) memmove(m->carry.data, m->carry.data + (m->done - m->carry_from), old);
	if (n > old) memcpy(m->carry.data + old, in->data + (m->done + old - in->base), n - old);
	m->carry_from = m->done;
}

void mask_feed(struct mask *m, const void *data, size_t len, struct buf *out)
{
	struct span in = {.data = data, .base = m->pos};
	uint32_t state = m->state;

	if (!m->built) build(m);
	if (!m->npatterns) {
		buf_add(out, data, len);
		return;
	}
	for (size_t i = 0; i < len;) {
		if (!state && (i = skip(m, in.data, i, len)) >= len) break;
		state = step(m, state, in.data[i++]);
		if (m->nodes[state].out) {
			uint64_t end = in.base + i;

			found(m, (struct range){end - m->nodes[state].out, end});
			flush(m, &in, end - m->nodes[state].depth, out);
		}
	}
	m->state = state;
	m->pos += len;
	flush(m, &in, m->pos - m->nodes[state].depth, out);
	keep_carry(m, &in);
}

void mask_end(struct mask *m, struct buf *out)
{
	struct span in = {.base = m->pos};

	if (m->built && m->npatterns) flush(m, &in, m->pos, out);
	m->state = 0;
	m->pos = m->done = m->carry_from = 0;
}

int mask_find(struct mask *m, struct mask_cursor *c, const void *data, size_t len, uint64_t *offset_r)
{
	const unsigned char *p = data;

	if (!m->built) build(m);
	for (size_t i = 0; i < len && m->npatterns;) {
		if (!c->state && (i = skip(m, p, i, len)) >= len) break;
		c->state = step(m, c->state, p[i++]);
		if (!m->nodes[c->state].out) continue;
		*offset_r = c->pos + i - m->nodes[c->state].out;
		return 1;
	}
	c->pos += len;
	return 0;
}
