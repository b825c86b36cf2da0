/* Decompression beside unpacking: a ring of blocks between two threads. The producer owns the slots from `made` on, the
 * consumer the one at `used`; both ends of the stream are hashed by the producer, so that a layer's two digests cost
 * no second pass.
 *
 * The decompressor is libarchive's, with "raw" as the format: one member, the stream without its filter. */
#include "runner/sandbox/feed.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <sodium.h>
#include <string.h>
#include <unistd.h>

#include "lib/fs.h"

enum { SLOTS = 8, SLOT_BYTES = 1 << 18, CHUNK = 1 << 17 };

struct feed {
	int fd;
	uint64_t max, total;
	EVP_MD_CTX *packed, *plain;
	pthread_t thread;
	int started;
	pthread_mutex_t lock;
	pthread_cond_t turned;
	unsigned made, used; /* slots ever filled and ever given back */
	_Atomic int stop;
	int ended, failed;
	struct err err;
	int holding; /* the consumer has slot `used` */
	unsigned char *chunk;
	struct {
		unsigned char *data;
		size_t len;
	} slots[SLOTS];
};

static la_ssize_t read_packed(struct archive *a, void *arg, const void **data_r)
{
	struct feed *f = arg;
	ssize_t n;

	do n = read(f->fd, f->chunk, CHUNK);
	while (n < 0 && errno == EINTR);
	if (n < 0) {
		archive_set_error(a, errno, "cannot read it: %s", strerror(errno));
		return -1;
	}
	if (n > 0 && !EVP_DigestUpdate(f->packed, f->chunk, (size_t)n)) die("sha256");
	*data_r = f->chunk;
	return n;
}

/* A free slot, or NULL: nobody reads any more. */
static unsigned char *next_slot(struct feed *f)
{
	unsigned char *data = NULL;

	pthread_mutex_lock(&f->lock);
	while (!f->stop && f->made - f->used == SLOTS) pthread_cond_wait(&f->turned, &f->lock);
	if (!f->stop) data = f->slots[f->made % SLOTS].data;
	pthread_mutex_unlock(&f->lock);
	return data;
}

static void hand_over(struct feed *f, size_t len)
{
	if (!len) return;
	pthread_mutex_lock(&f->lock);
	f->slots[f->made++ % SLOTS].len = len;
	pthread_cond_signal(&f->turned);
	pthread_mutex_unlock(&f->lock);
}

static int fill(struct feed *f, struct archive *a, struct err *e)
{
	unsigned char *slot = next_slot(f);
	size_t at = 0, len;
	const void *block;
	la_int64_t offset;
	int r;

	while (slot && (r = archive_read_data_block(a, &block, &len, &offset)) == ARCHIVE_OK) {
		if (!EVP_DigestUpdate(f->plain, block, len)) die("sha256");
		f->total += len;
		if (f->max && f->total > f->max)
			return err_set(e, ERR_INPUT, "it unpacks to more than %llu MB, which is the limit",
				       (unsigned long long)(f->max >> 20));
		for (const unsigned char *p = block; len && slot;) {
			size_t n = len < SLOT_BYTES - at ? len : SLOT_BYTES - at;

			memcpy(slot + at, p, n);
			p += n;
			len -= n;
			at += n;
			if (at < SLOT_BYTES) continue;
			hand_over(f, at);
			at = 0;
			slot = next_slot(f);
		}
	}
	if (!slot) return 0;
	if (r != ARCHIVE_EOF) return err_set(e, ERR_INPUT, "damaged: %s", archive_error_string(a));
	hand_over(f, at);
	return 0;
}

static int produce(struct feed *f, struct err *e)
{
	struct archive *a = archive_read_new();
	struct archive_entry *entry;
	int r, result = 0;

	if (!a) die("archive_read_new");
	archive_read_support_format_raw(a);
	archive_read_support_format_empty(a);
	archive_read_support_filter_gzip(a);
	archive_read_support_filter_bzip2(a);
	archive_read_support_filter_xz(a);
	archive_read_support_filter_zstd(a);
	r = archive_read_open(a, f, NULL, read_packed, NULL);
	if (r == ARCHIVE_OK) r = archive_read_next_header(a, &entry);
	if (r == ARCHIVE_OK)
		result = fill(f, a, e);
	else if (r != ARCHIVE_EOF)
		result = err_set(e, ERR_INPUT, "damaged: %s", archive_error_string(a));
	/* What stands behind the last compressed member belongs to the digest too. */
	if (!result && !f->stop)
		for (ssize_t n; !result && (n = read_packed(a, f, &(const void *){NULL})) != 0;)
			if (n < 0) result = err_set(e, ERR_SYS, "%s", archive_error_string(a));
	archive_read_free(a);
	return result;
}

static void *work(void *arg)
{
	struct feed *f = arg;
	struct err e = {0};
	int failed = produce(f, &e);

	pthread_mutex_lock(&f->lock);
	f->failed = failed;
	f->err = e;
	f->ended = 1;
	pthread_cond_signal(&f->turned);
	pthread_mutex_unlock(&f->lock);
	return NULL;
}

int feed_open(int fd, uint64_t max_bytes, struct feed **f_r, struct err *e)
{
	struct feed *f = xcalloc(1, sizeof(*f));
	int failed;

	*f = (struct feed){.fd = fd, .max = max_bytes, .chunk = xmalloc(CHUNK)};
	pthread_mutex_init(&f->lock, NULL);
	pthread_cond_init(&f->turned, NULL);
	for (size_t i = 0; i < SLOTS; i++) f->slots[i].data = xmalloc(SLOT_BYTES);
	f->packed = EVP_MD_CTX_new();
	f->plain = EVP_MD_CTX_new();
	if (!f->packed || !f->plain || !EVP_DigestInit_ex(f->packed, EVP_sha256(), NULL) ||
	    !EVP_DigestInit_ex(f->plain, EVP_sha256(), NULL))
		die("sha256");
	failed = pthread_create(&f->thread, NULL, work, f);
	if (failed) {
		feed_close(&f);
		errno = failed;
		return err_sys(e, "cannot make a thread");
	}
	f->started = 1;
	*f_r = f;
	return 0;
}

int feed_read(struct feed *f, const void **data_r, size_t *len_r, struct err *e)
{
	int result = 0;

	pthread_mutex_lock(&f->lock);
	if (f->holding) {
		f->used++;
		f->holding = 0;
		pthread_cond_signal(&f->turned);
	}
	while (f->made == f->used && !f->ended) pthread_cond_wait(&f->turned, &f->lock);
	if (f->made != f->used) {
		*data_r = f->slots[f->used % SLOTS].data;
		*len_r = f->slots[f->used % SLOTS].len;
		f->holding = 1;
		result = 1;
	} else if (f->failed) {
		*e = f->err;
		result = -1;
	}
	pthread_mutex_unlock(&f->lock);
	return result;
}

static void digest(EVP_MD_CTX *ctx, char hex_r[FEED_DIGEST_BYTES])
{
	unsigned char hash[EVP_MAX_MD_SIZE];

	if (!EVP_DigestFinal_ex(ctx, hash, NULL)) die("sha256");
	sodium_bin2hex(hex_r, FEED_DIGEST_BYTES, hash, 32);
}

int feed_finish(struct feed *f, char packed_r[FEED_DIGEST_BYTES], char plain_r[FEED_DIGEST_BYTES], struct err *e)
{
	const void *data;
	size_t len;
	int r;

	while ((r = feed_read(f, &data, &len, e)) == 1) {}
	if (r < 0) return -1;
	/* The thread has ended its work: nothing of it changes any more. */
	digest(f->packed, packed_r);
	digest(f->plain, plain_r);
	return 0;
}

void feed_close(struct feed **fp)
{
	struct feed *f = *fp;

	if (!f) return;
	if (f->started) {
		pthread_mutex_lock(&f->lock);
		f->stop = 1;
		pthread_cond_signal(&f->turned);
		pthread_mutex_unlock(&f->lock);
		pthread_join(f->thread, NULL);
	}
	EVP_MD_CTX_free(f->packed);
	EVP_MD_CTX_free(f->plain);
	for (size_t i = 0; i < SLOTS; i++) free(f->slots[i].data);
	pthread_cond_destroy(&f->turned);
	pthread_mutex_destroy(&f->lock);
	free(f->chunk);
	free(f);
	*fp = NULL;
}
