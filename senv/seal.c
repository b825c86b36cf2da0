/* Sealing: value → chunks → value. Each chunk is a crypto_box_seal of a header and a piece of the value, in base64.
 * Opening trusts nothing: a sealed box proves only that somebody knew the public key, so what binds the pieces to
 * each other is the header's file id, count, length and hash, and to this use its name and repository. */
#include "senv/seal.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "senv/chunk.h"

static const char base64_space[] = " \t\r\n";

static void scope_hash(const char *scope, unsigned char hash_r[CHUNK_HASH_BYTES])
{
	memset(hash_r, 0, CHUNK_HASH_BYTES);
	if (scope && *scope)
		crypto_generichash(hash_r, CHUNK_HASH_BYTES, (const unsigned char *)scope, strlen(scope), NULL, 0);
}

size_t seal_payload_bytes(const char *name, size_t text_bytes)
{
	size_t sealed = text_bytes / 4 * 3, around = crypto_box_SEALBYTES + CHUNK_FIXED_BYTES + strlen(name);

	return sealed > around ? sealed - around : 0;
}

static int seal_one(const unsigned char *pub, const struct chunk *c, struct vec *chunks_r, struct err *e)
{
	_cleanup_secret_ struct secret plain = SECRET_INIT;
	size_t len = CHUNK_FIXED_BYTES + c->name_len + c->payload_len, box_len = len + crypto_box_SEALBYTES;
	_cleanup_free_ unsigned char *box = xmalloc(box_len);
	size_t text_size = sodium_base64_ENCODED_LEN(box_len, sodium_base64_VARIANT_ORIGINAL);
	char *text;

	secret_alloc(&plain, len);
	chunk_write(c, plain.data);
	if (crypto_box_seal(box, plain.data, len, pub))
		return err_set(e, ERR_INPUT, "cannot seal '%.*s': the public key is no good point", (int)c->name_len,
			       c->name);
	text = xmalloc(text_size);
	sodium_bin2base64(text, text_size, box, box_len, sodium_base64_VARIANT_ORIGINAL);
	vec_take(chunks_r, text);
	return 0;
}

int seal_make(const struct seal_params *p, const void *value, size_t len, struct vec *chunks_r, struct err *e)
{
	_cleanup_vec_ struct vec made = VEC_INIT;
	struct chunk c = {.name = p->name, .name_len = strlen(p->name), .value_len = len};
	size_t total;

	if (seal_check_name(p->name, e)) return -1;
	if (!p->payload_bytes)
		return err_set(e, ERR_INPUT, "cannot seal '%s': a chunk must hold at least one byte", p->name);
	if (len > SEAL_MAX_VALUE)
		return err_set(e, ERR_INPUT, "cannot seal '%s': it is larger than %d bytes", p->name, SEAL_MAX_VALUE);
	total = len ? (len - 1) / p->payload_bytes + 1 : 1;
	if (total > SEAL_MAX_CHUNKS)
		return err_set(e, ERR_INPUT, "cannot seal '%s': more than %d chunks", p->name, SEAL_MAX_CHUNKS);
	c.total = (uint32_t)total;
	randombytes_buf(c.id, sizeof(c.id));
	scope_hash(p->scope, c.scope);
	crypto_generichash(c.hash, sizeof(c.hash), value, len, NULL, 0);
	for (c.index = 0; c.index < c.total; c.index++) {
		size_t at = c.index * p->payload_bytes;

		c.payload = len ? (const unsigned char *)value + at : NULL;
		c.payload_len = len - at < p->payload_bytes ? len - at : p->payload_bytes;
		if (seal_one(p->pub, &c, &made, e)) return -1;
	}
	vec_release(chunks_r);
	*chunks_r = made;
	made = (struct vec)VEC_INIT;
	return 0;
}

int seal_value(const unsigned char pub[SEAL_KEY_BYTES], const char *scope, const char *name, const void *value,
	       size_t len, size_t chunk_bytes, struct vec *chunks_r, struct err *e)
{
	struct seal_params p = {.pub = pub, .scope = scope, .name = name};

	if (seal_check_name(name, e)) return -1;
	p.payload_bytes = seal_payload_bytes(name, chunk_bytes);
	if (!p.payload_bytes) {
		size_t least = crypto_box_SEALBYTES + CHUNK_FIXED_BYTES + strlen(name) + 1;

		return err_set(e, ERR_INPUT, "cannot seal '%s': chunks of %zu bytes are too small, the least is %zu",
			       name, chunk_bytes, (least + 2) / 3 * 4);
	}
	return seal_make(&p, value, len, chunks_r, e);
}

/* What is being opened: the plain bytes of all chunks in one piece of guarded memory, and their headers. */
struct opening {
	const char *subject; /* " of 'NAME'" or "" */
	struct secret plain;
	struct chunk *chunks;
	size_t n;
};

static void opening_release(struct opening *o)
{
	secret_release(&o->plain);
	free(o->chunks);
}

/* Base64 to bytes; box has room for len * 3 / 4 + 3. */
static int decode(const char *text, unsigned char *box, size_t *len_r, struct err *e)
{
	static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=";
	size_t len = strlen(text), good = 0;

	while (good < len && (strchr(alphabet, text[good]) || strchr(base64_space, text[good]))) good++;
	if (good < len) return err_set(e, ERR_INPUT, "character %zu is no base64", good + 1);
	if (sodium_base642bin(box, len * 3 / 4 + 3, text, len, base64_space, len_r, NULL,
			      sodium_base64_VARIANT_ORIGINAL))
		return err_set(e, ERR_INPUT, "cut, its base64 is not complete");
	if (*len_r < crypto_box_SEALBYTES + CHUNK_FIXED_BYTES + 1) return err_set(e, ERR_INPUT, "cut, too short");
	return 0;
}

/* Opens every chunk that opens. *closed_r: place of the first that does not, or n. */
static int open_boxes(struct opening *o, const struct secret *key, const struct vec *texts, size_t *closed_r,
		      size_t *opened_r, struct err *e)
{
	unsigned char pub[SEAL_KEY_BYTES];
	size_t room = 1, at = 0, widest = 0;
	_cleanup_free_ unsigned char *box = NULL;

	crypto_scalarmult_base(pub, key->data);
	for (size_t i = 0; i < texts->len; i++) {
		size_t len = strlen(texts->items[i]);

		room += len * 3 / 4 + 3;
		if (len > widest) widest = len;
	}
	box = xmalloc(widest * 3 / 4 + 3);
	secret_alloc(&o->plain, room);
	o->chunks = xcalloc(texts->len, sizeof(*o->chunks));
	o->n = *closed_r = texts->len;
	*opened_r = 0;
	for (size_t i = 0; i < o->n; i++) {
		size_t len;

		if (decode(texts->items[i], box, &len, e)) return err_wrap(e, "chunk %zu%s", i + 1, o->subject);
		if (crypto_box_seal_open(o->plain.data + at, box, len, pub, key->data)) {
			if (*closed_r == o->n) *closed_r = i;
			continue;
		}
		len -= crypto_box_SEALBYTES;
		if (chunk_parse(o->plain.data + at, len, &o->chunks[i], e))
			return err_wrap(e, "chunk %zu%s", i + 1, o->subject);
		at += len;
		++*opened_r;
	}
	return 0;
}

static int check_scope(const struct chunk *c, size_t place, const char *scope, struct err *e)
{
	unsigned char mine[CHUNK_HASH_BYTES];

	if (sodium_is_zero(c->scope, sizeof(c->scope))) return 0;
	if (!scope || !*scope)
		return err_set(e, ERR_DENIED, "chunk %zu of '%.*s' is sealed for one repository, and none was named",
			       place, (int)c->name_len, c->name);
	scope_hash(scope, mine);
	if (sodium_memcmp(mine, c->scope, sizeof(mine)))
		return err_set(e, ERR_DENIED, "chunk %zu of '%.*s' is sealed for another repository than '%s'", place,
			       (int)c->name_len, c->name, scope);
	return 0;
}

/* The chunks against each other; `first` speaks for all. */
static int check_agree(const struct opening *o, struct err *e)
{
	const struct chunk *first = &o->chunks[0];

	for (size_t i = 1; i < o->n; i++) {
		const struct chunk *c = &o->chunks[i];

		if (c->name_len != first->name_len || memcmp(c->name, first->name, c->name_len))
			return err_set(e, ERR_DENIED, "chunk %zu of '%.*s' was sealed as '%.*s'", i + 1,
				       (int)first->name_len, first->name, (int)c->name_len, c->name);
		if (memcmp(c->id, first->id, sizeof(c->id)))
			return err_set(e, ERR_INPUT, "chunk %zu of '%.*s' is from another sealing than chunk 1", i + 1,
				       (int)c->name_len, c->name);
		if (c->total != first->total || c->value_len != first->value_len ||
		    memcmp(c->hash, first->hash, sizeof(c->hash)) || memcmp(c->scope, first->scope, sizeof(c->scope)))
			return err_set(e, ERR_INPUT, "chunk %zu of '%.*s' contradicts chunk 1 about the whole", i + 1,
				       (int)c->name_len, c->name);
	}
	return 0;
}

/* The chunks in order of index: by_index[i] for every index, each exactly once. */
static int check_complete(const struct opening *o, const struct chunk **by_index, struct err *e)
{
	uint32_t total = o->chunks[0].total;
	int name_len = (int)o->chunks[0].name_len;
	const char *name = o->chunks[0].name;
	size_t sum = 0;

	for (size_t i = 0; i < o->n; i++) {
		const struct chunk *c = &o->chunks[i];

		/* With n slots: an index past them means that a smaller one is missing. */
		if (c->index >= o->n) continue;
		if (by_index[c->index])
			return err_set(e, ERR_INPUT, "chunk %u of %u of '%.*s' is there twice", c->index + 1, total,
				       name_len, name);
		by_index[c->index] = c;
		sum += c->payload_len;
	}
	for (uint32_t i = 0; i < total; i++)
		if (i >= o->n || !by_index[i])
			return err_set(e, ERR_INPUT, "chunk %u of %u of '%.*s' is missing", i + 1, total, name_len,
				       name);
	if (sum != o->chunks[0].value_len)
		return err_set(e, ERR_DENIED, "'%.*s' has %zu bytes in its chunks, %llu were sealed", name_len, name,
			       sum, (unsigned long long)o->chunks[0].value_len);
	return 0;
}

static int join(const struct opening *o, const struct chunk *const *by_index, struct secret *value_r, struct err *e)
{
	_cleanup_secret_ struct secret whole = SECRET_INIT;
	const struct chunk *first = &o->chunks[0];
	unsigned char hash[CHUNK_HASH_BYTES];
	size_t at = 0;

	secret_alloc(&whole, first->value_len);
	for (uint32_t i = 0; i < first->total; i++) {
		memcpy(whole.data + at, by_index[i]->payload, by_index[i]->payload_len);
		at += by_index[i]->payload_len;
	}
	crypto_generichash(hash, sizeof(hash), whole.data, whole.len, NULL, 0);
	if (sodium_memcmp(hash, first->hash, sizeof(hash)))
		return err_set(e, ERR_DENIED, "'%.*s' is not what was sealed: its hash differs", (int)first->name_len,
			       first->name);
	secret_release(value_r);
	*value_r = whole;
	whole = (struct secret)SECRET_INIT;
	return 0;
}

static int check_name(const struct chunk *c, size_t place, const char *name, struct err *e)
{
	if (!name || (strlen(name) == c->name_len && !memcmp(name, c->name, c->name_len))) return 0;
	return err_set(e, ERR_DENIED, "chunk %zu of '%s' was sealed as '%.*s'", place, name, (int)c->name_len, c->name);
}

static int open_all(struct opening *o, const struct secret *key, const struct vec *chunks, struct err *e)
{
	size_t closed, opened;

	if (!chunks->len) return err_set(e, ERR_INPUT, "no chunks%s", o->subject);
	if (open_boxes(o, key, chunks, &closed, &opened, e)) return -1;
	if (closed == o->n) return 0;
	if (!opened)
		return err_set(e, ERR_DENIED, "chunk %zu%s does not open: sealed to another key, or changed",
			       closed + 1, o->subject);
	return err_set(e, ERR_DENIED, "chunk %zu%s does not open though others do: it was changed", closed + 1,
		       o->subject);
}

/* What was opened is one whole value. */
static int assemble(const struct opening *o, struct secret *value_r, struct err *e)
{
	_cleanup_free_ const struct chunk **by_index = xcalloc(o->n, sizeof(struct chunk *));

	if (check_agree(o, e) || check_complete(o, by_index, e)) return -1;
	return join(o, by_index, value_r, e);
}

int seal_open(const struct secret *key, const char *scope, const char *name, const struct vec *chunks, char **name_r,
	      struct secret *value_r, struct err *e)
{
	_cleanup_free_ char *subject = name ? xasprintf(" of '%.255s'", name) : xstrdup("");
	__attribute__((cleanup(opening_release))) struct opening o = {.subject = subject};

	if (open_all(&o, key, chunks, e)) return -1;
	for (size_t i = 0; i < o.n; i++)
		if (check_name(&o.chunks[i], i + 1, name, e) || check_scope(&o.chunks[i], i + 1, scope, e)) return -1;
	if (assemble(&o, value_r, e)) return -1;
	if (name_r) *name_r = xstrndup(o.chunks[0].name, o.chunks[0].name_len);
	return 0;
}

int seal_again(const struct secret *key, const unsigned char pub[SEAL_KEY_BYTES], const char *name,
	       const struct vec *chunks, char **name_r, struct vec *chunks_r, struct err *e)
{
	_cleanup_free_ char *subject = name ? xasprintf(" of '%.255s'", name) : xstrdup("");
	__attribute__((cleanup(opening_release))) struct opening o = {.subject = subject};
	_cleanup_secret_ struct secret value = SECRET_INIT;
	_cleanup_vec_ struct vec made = VEC_INIT;
	unsigned char id[CHUNK_ID_BYTES];

	if (open_all(&o, key, chunks, e)) return -1;
	for (size_t i = 0; i < o.n; i++)
		if (check_name(&o.chunks[i], i + 1, name, e)) return -1;
	if (assemble(&o, &value, e)) return -1;
	randombytes_buf(id, sizeof(id));
	for (size_t i = 0; i < o.n; i++) {
		memcpy(o.chunks[i].id, id, sizeof(id));
		if (seal_one(pub, &o.chunks[i], &made, e)) return -1;
	}
	if (name_r) *name_r = xstrndup(o.chunks[0].name, o.chunks[0].name_len);
	vec_release(chunks_r);
	*chunks_r = made;
	made = (struct vec)VEC_INIT;
	return 0;
}
