/* The chunk header: to bytes and back. Its bytes come out of a sealed box that anybody can make with the public
 * key, so nothing in them is trusted: lengths are checked against what is really there. */
#include "senv/chunk.h"

#include <string.h>

#include "senv/seal.h"

static void put_le(unsigned char *p, uint64_t n, int bytes)
{
	for (int i = 0; i < bytes; i++) p[i] = (unsigned char)(n >> (8 * i));
}

static uint64_t get_le(const unsigned char *p, int bytes)
{
	uint64_t n = 0;

	for (int i = 0; i < bytes; i++) n |= (uint64_t)p[i] << (8 * i);
	return n;
}

void chunk_write(const struct chunk *c, unsigned char *out)
{
	memcpy(out, "senv", 4);
	out[4] = 1;
	out[5] = (unsigned char)c->name_len;
	put_le(out + 6, 0, 2);
	put_le(out + 8, c->index, 4);
	put_le(out + 12, c->total, 4);
	put_le(out + 16, c->value_len, 8);
	memcpy(out + 24, c->id, CHUNK_ID_BYTES);
	memcpy(out + 40, c->scope, CHUNK_HASH_BYTES);
	memcpy(out + 72, c->hash, CHUNK_HASH_BYTES);
	memcpy(out + CHUNK_FIXED_BYTES, c->name, c->name_len);
	if (c->payload_len) memcpy(out + CHUNK_FIXED_BYTES + c->name_len, c->payload, c->payload_len);
}

static int is_name(const char *s, size_t len)
{
	static const char first[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_";

	if (!len || len > SEAL_MAX_NAME || !memchr(first, s[0], sizeof(first) - 1)) return 0;
	for (size_t i = 1; i < len; i++)
		if (!memchr(first, s[i], sizeof(first) - 1) && (s[i] < '0' || s[i] > '9')) return 0;
	return 1;
}

int seal_check_name(const char *name, struct err *e)
{
	if (is_name(name, strlen(name))) return 0;
	return err_set(e, ERR_INPUT,
		       "bad name '%.100s': letters, digits and '_', no digit first, at most %d characters", name,
		       SEAL_MAX_NAME);
}

int chunk_parse(const unsigned char *data, size_t len, struct chunk *c, struct err *e)
{
	struct chunk r;

	if (len < CHUNK_FIXED_BYTES || memcmp(data, "senv", 4))
		return err_set(e, ERR_INPUT, "no senv chunk, though it opens");
	if (data[4] != 1) return err_set(e, ERR_INPUT, "version %d, this senv reads version 1", data[4]);
	r.name = (const char *)data + CHUNK_FIXED_BYTES;
	r.name_len = data[5];
	if (get_le(data + 6, 2)) return err_set(e, ERR_INPUT, "reserved bytes are set");
	r.index = (uint32_t)get_le(data + 8, 4);
	r.total = (uint32_t)get_le(data + 12, 4);
	r.value_len = get_le(data + 16, 8);
	memcpy(r.id, data + 24, CHUNK_ID_BYTES);
	memcpy(r.scope, data + 40, CHUNK_HASH_BYTES);
	memcpy(r.hash, data + 72, CHUNK_HASH_BYTES);
	if (len - CHUNK_FIXED_BYTES < r.name_len || !is_name(r.name, r.name_len))
		return err_set(e, ERR_INPUT, "impossible name");
	if (!r.total || r.total > SEAL_MAX_CHUNKS) return err_set(e, ERR_INPUT, "impossible count");
	if (r.index >= r.total) return err_set(e, ERR_INPUT, "its index is past its count");
	if (r.value_len > SEAL_MAX_VALUE) return err_set(e, ERR_INPUT, "impossible length");
	r.payload = data + CHUNK_FIXED_BYTES + r.name_len;
	r.payload_len = len - CHUNK_FIXED_BYTES - r.name_len;
	*c = r;
	return 0;
}
