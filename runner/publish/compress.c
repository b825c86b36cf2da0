/* bzip2 in parallel, giving the very bytes that `bzip2 -9` gives.
 *
 * The input is cut where bzip2 itself would end a block (its first stage, runs of 4..255 equal bytes become 5,
 * decides that), each piece is compressed by a thread with libbz2 into a stream of one block, and the blocks are
 * joined bit by bit into one stream: a decoder that knows only single streams reads it too.
 *
 *   bzip2 stream:  "BZh9"  block*  end-of-stream magic (48 bits)  CRC of all blocks (32 bits)  0..7 zero bits
 *   CRC of all:    rotate_left(so far, 1) ^ CRC of the block, for each block in turn
 *
 * The input is mapped: it belongs to the caller alone while this runs.
 * src: bzip2 1.0.8, bzlib.c and compress.c */
#include "runner/publish/compress.h"

#include <bzlib.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/buf.h"
#include "lib/fs.h"

enum {
	LEVEL = 9,
	BLOCK_FULL = 100000 * LEVEL - 19, /* bzip2 ends a block once it holds this many bytes after its first stage */
	RUN_MAX = 255,
	PACKED_MAX = 100000 * LEVEL * 5 / 4 / 100 * 101 + 600,
	HEADER_BITS = 32,
	TRAILER_BITS = 80,
	MAX_THREADS = 32,
};
static const uint64_t end_magic = 0x177245385090;

/* --- where blocks end --- */

static size_t run_length(const unsigned char *p, const unsigned char *end)
{
	size_t n = 1, most = (size_t)(end - p) < RUN_MAX ? (size_t)(end - p) : RUN_MAX;

	while (n < most && p[n] == p[0]) n++;
	return n;
}

static size_t block_length(const unsigned char *p, const unsigned char *end)
{
	const unsigned char *at = p;
	size_t held = 0;

	while (at < end && held < BLOCK_FULL) {
		size_t run = run_length(at, end);

		held += run < 4 ? run : 5;
		at += run;
	}
	return (size_t)(at - p);
}

/* --- the threads --- */

struct slot {
	enum { SLOT_FREE, SLOT_TAKEN, SLOT_READY } state;
	unsigned len;
	int bz;
	char *packed;
};

struct pack {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	const unsigned char *next, *end; /* input not yet taken */
	uint64_t taken;                  /* blocks handed to threads so far */
	int stop;
	struct slot *slots; /* block i goes to slot i % nslots */
	size_t nslots;
	pthread_t threads[MAX_THREADS];
	size_t nthreads;
};

/* Takes the next block in order; NULL when there is none left. */
static struct slot *take_block(struct pack *p, const unsigned char **data_r, size_t *len_r)
{
	struct slot *s = NULL;

	pthread_mutex_lock(&p->lock);
	while (!p->stop && p->next < p->end && p->slots[p->taken % p->nslots].state != SLOT_FREE)
		pthread_cond_wait(&p->changed, &p->lock);
	if (!p->stop && p->next < p->end) {
		s = &p->slots[p->taken++ % p->nslots];
		s->state = SLOT_TAKEN;
		*data_r = p->next;
		*len_r = block_length(p->next, p->end);
		p->next += *len_r;
	}
	pthread_mutex_unlock(&p->lock);
	return s;
}

static void *pack_thread(void *arg)
{
	struct pack *p = arg;
	const unsigned char *data;
	struct slot *s;
	size_t len;

	while ((s = take_block(p, &data, &len))) {
		s->len = PACKED_MAX;
		s->bz = BZ2_bzBuffToBuffCompress(s->packed, &s->len, (char *)(uintptr_t)data, (unsigned)len, LEVEL, 0,
						 0);
		pthread_mutex_lock(&p->lock);
		s->state = SLOT_READY;
		pthread_cond_broadcast(&p->changed);
		pthread_mutex_unlock(&p->lock);
	}
	return NULL;
}

static size_t cores(void)
{
	cpu_set_t set;
	int n = sched_getaffinity(0, sizeof(set), &set) ? 1 : CPU_COUNT(&set);

	return n < 1 ? 1 : n > MAX_THREADS ? MAX_THREADS : (size_t)n;
}

static int pack_start(struct pack *p, const unsigned char *data, size_t len, struct err *e)
{
	size_t want = cores();

	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->changed, NULL);
	p->next = data;
	p->end = data + len;
	p->nslots = want * 2;
	p->slots = xcalloc(p->nslots, sizeof(*p->slots));
	for (size_t i = 0; i < p->nslots; i++) p->slots[i].packed = xmalloc(PACKED_MAX);
	while (p->nthreads < want) {
		int rc = pthread_create(&p->threads[p->nthreads], NULL, pack_thread, p);

		if (rc && p->nthreads) break;
		errno = rc;
		if (rc) return err_sys(e, "cannot start a thread");
		p->nthreads++;
	}
	return 0;
}

static void pack_release(struct pack *p)
{
	pthread_mutex_lock(&p->lock);
	p->stop = 1;
	pthread_cond_broadcast(&p->changed);
	pthread_mutex_unlock(&p->lock);
	for (size_t i = 0; i < p->nthreads; i++) pthread_join(p->threads[i], NULL);
	for (size_t i = 0; i < p->nslots; i++) free(p->slots[i].packed);
	free(p->slots);
	pthread_cond_destroy(&p->changed);
	pthread_mutex_destroy(&p->lock);
}

/* --- joining blocks bit by bit --- */

struct bits {
	int fd;
	const char *name;
	uint64_t written;
	struct buf out;
	unsigned pending;  /* the low npending bits are not in out yet */
	unsigned npending; /* 0..7 */
};

static uint64_t read_bits(const unsigned char *p, size_t at, unsigned n)
{
	uint64_t v = 0;

	for (size_t i = at; i < at + n; i++) v = v << 1 | (p[i / 8] >> (7 - i % 8) & 1);
	return v;
}

static void put_bits(struct bits *b, uint64_t value, unsigned n)
{
	while (n) {
		unsigned take = n < 8 - b->npending ? n : 8 - b->npending;

		b->pending = b->pending << take | (unsigned)(value >> (n - take) & ((1U << take) - 1));
		b->npending += take;
		n -= take;
		if (b->npending == 8) {
			buf_addch(&b->out, (char)b->pending);
			b->pending = b->npending = 0;
		}
	}
}

/* The bits of p from HEADER_BITS on, which is a byte's edge there, up to bit `end`. */
static void put_block(struct bits *b, const unsigned char *p, size_t end)
{
	size_t whole = end / 8, n = whole - HEADER_BITS / 8;
	unsigned held = b->npending, carry = b->pending;
	char *out = buf_reserve(&b->out, n);

	if (!out) die("a block larger than its buffer");
	for (size_t i = 0; i < n; i++) {
		unsigned both = carry << 8 | p[HEADER_BITS / 8 + i];

		out[i] = (char)(both >> held);
		carry = both & ((1U << held) - 1);
	}
	b->out.len += n;
	b->pending = carry;
	if (end % 8) put_bits(b, p[whole] >> (8 - end % 8), (unsigned)(end % 8));
}

static int flush_bits(struct bits *b, struct err *e)
{
	if (fs_write_all(b->fd, buf_str(&b->out), b->out.len, b->name, e)) return -1;
	b->written += b->out.len;
	buf_clear(&b->out);
	return 0;
}

/* The end of the one block in this stream, in bits. 0: this is no stream of one block. */
static size_t find_end(const unsigned char *p, size_t len, uint32_t *crc_r)
{
	size_t bits = len * 8;

	for (size_t pad = 0; pad < 8 && bits >= HEADER_BITS + TRAILER_BITS + 80 + pad; pad++) {
		size_t at = bits - pad - TRAILER_BITS;
		uint32_t all = (uint32_t)read_bits(p, at + 48, 32), one = (uint32_t)read_bits(p, HEADER_BITS + 48, 32);

		if (read_bits(p, at, 48) != end_magic || all != one) continue;
		*crc_r = one;
		return at;
	}
	return 0;
}

static int join_blocks(struct pack *p, struct bits *b, struct err *e)
{
	uint32_t crc_all = 0;

	put_bits(b, 0x425a6830 + LEVEL, 32);
	for (uint64_t i = 0;; i++) {
		struct slot *s = &p->slots[i % p->nslots];
		uint32_t crc = 0;
		size_t end;
		int last;

		pthread_mutex_lock(&p->lock);
		while (!(last = p->next == p->end && p->taken == i) && s->state != SLOT_READY)
			pthread_cond_wait(&p->changed, &p->lock);
		pthread_mutex_unlock(&p->lock);
		if (last) break;
		if (s->bz != BZ_OK) die("libbz2: error %d", s->bz);
		end = find_end((unsigned char *)s->packed, s->len, &crc);
		if (!end) die("libbz2 made no stream of one block");
		put_block(b, (unsigned char *)s->packed, end);
		crc_all = (crc_all << 1 | crc_all >> 31) ^ crc;
		pthread_mutex_lock(&p->lock);
		s->state = SLOT_FREE;
		pthread_cond_broadcast(&p->changed);
		pthread_mutex_unlock(&p->lock);
		if (flush_bits(b, e)) return -1;
	}
	put_bits(b, end_magic, 48);
	put_bits(b, crc_all, 32);
	if (b->npending) put_bits(b, 0, 8 - b->npending);
	return flush_bits(b, e);
}

static int pack_to(const unsigned char *data, size_t len, int fd, const char *name, uint64_t *bytes_r, struct err *e)
{
	__attribute__((cleanup(pack_release))) struct pack p = {.stop = 0};
	struct bits b = {.fd = fd, .name = name, .out = BUF_INIT(PACKED_MAX + 64)};
	int failed = pack_start(&p, data, len, e) || join_blocks(&p, &b, e);

	buf_release(&b.out);
	*bytes_r = b.written;
	return failed ? -1 : 0;
}

int compress_bz2(const char *from, const char *to, uint64_t *bytes_r, struct err *e)
{
	_cleanup_close_ int in = open(from, O_RDONLY | O_CLOEXEC), out = -1;
	struct stat st;
	void *map = NULL;
	int failed, fd;

	if (in < 0) return err_sys(e, "cannot open '%s'", from);
	if (fstat(in, &st)) return err_sys(e, "cannot look at '%s'", from);
	if (!S_ISREG(st.st_mode)) return err_set(e, ERR_INPUT, "cannot compress '%s': not a regular file", from);
	if (st.st_size) map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, in, 0);
	if (map == MAP_FAILED) return err_sys(e, "cannot map '%s'", from);
	out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (out < 0) {
		err_sys(e, "cannot create '%s'", to);
		if (map) munmap(map, (size_t)st.st_size);
		return -1;
	}
	failed = pack_to(map, (size_t)st.st_size, out, to, bytes_r, e);
	if (map) munmap(map, (size_t)st.st_size);
	fd = out;
	out = -1;
	if (close(fd) && !failed) failed = err_sys(e, "cannot close '%s'", to);
	if (failed) unlink(to);
	return failed ? -1 : 0;
}
