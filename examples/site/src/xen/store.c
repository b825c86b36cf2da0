/* A ring of bytes each way, and messages in them. The daemon is believed as the hypervisor is, but for lengths. */
#include "store.h"

#include <string.h>

#include "hyper.h"
#include "machine.h"

enum { RING = 1024, WATCH_EVENT = 15, ERROR = 16, SHORT = 64 };
enum { OP_READ = 2, OP_WATCH = 4, OP_WRITE = 11 };

struct ring {
	char questions[RING], answers[RING];
	uint32_t questions_cons, questions_prod, answers_cons, answers_prod;
};
static volatile struct ring *ring;
static uint32_t channel;
static int something_changed; /* below what is watched */
static const char shutdown_key[] = "control/shutdown";

struct header {
	uint32_t kind, id, transaction, len;
};

static void wait(void)
{
	hyper_happened(channel);
	hyper_wait(&channel, 1, hyper_now_ms() + 1000);
}

static void put(const void *data, size_t len)
{
	for (const char *p = data; len; p++, len--) {
		while (ring->questions_prod - ring->questions_cons >= RING) wait();
		ring->questions[ring->questions_prod % RING] = *p;
		barrier();
		ring->questions_prod++;
	}
}

/* What does not fit is read and dropped. */
static void get(void *data, size_t len, size_t room)
{
	for (size_t i = 0; i < len; i++) {
		while (ring->answers_cons == ring->answers_prod) wait();
		barrier();
		if (i < room) ((char *)data)[i] = ring->answers[ring->answers_cons % RING];
		fence();
		ring->answers_cons++;
	}
}

/* One message in; returns its kind. */
static uint32_t take(char *text_r, size_t room, size_t *len_r)
{
	struct header h;

	get(&h, sizeof h, sizeof h);
	get(text_r, h.len, room);
	hyper_notify(channel);
	if (h.kind == WATCH_EVENT) something_changed = 1;
	*len_r = h.len < room ? h.len : room;
	return h.kind;
}

/* Returns 0 where it was refused. `b` ends the question with its own NUL only if `b_len` says so. */
static int ask(uint32_t op, const char *a, const char *b, size_t b_len, char *text_r, size_t room)
{
	const struct header h = {op, 1, 0, (uint32_t)(strlen(a) + 1 + b_len)};
	uint32_t kind;
	size_t len;

	if (!ring) return 0;
	put(&h, sizeof h);
	put(a, strlen(a) + 1);
	put(b, b_len);
	hyper_notify(channel);
	do kind = take(text_r, room - 1, &len);
	while (kind == WATCH_EVENT);
	text_r[len] = '\0';
	return kind != ERROR;
}

void store_init(void)
{
	static const char token[] = "ours";
	char answer[SHORT];
	uint64_t frame = hyper_param(HVM_PARAM_STORE_PFN);

	channel = (uint32_t)hyper_param(HVM_PARAM_STORE_EVTCHN);
	if (!frame || !channel) return;
	ring = (volatile struct ring *)(uintptr_t)(frame * HYPER_PAGE);
	ask(OP_WATCH, shutdown_key, token, sizeof token, answer, sizeof answer);
}

uint32_t store_channel(void)
{
	return channel;
}

int store_read(const char *path, char *text_r, size_t room)
{
	return ask(OP_READ, path, "", 0, text_r, room);
}

int store_write(const char *path, const char *text)
{
	char answer[SHORT];

	return ask(OP_WRITE, path, text, strlen(text), answer, sizeof answer);
}

uint64_t store_read_number(const char *path)
{
	char text[SHORT];
	uint64_t n = 0;

	if (!store_read(path, text, sizeof text)) return 0;
	for (const char *p = text; *p >= '0' && *p <= '9'; p++) n = n * 10 + (uint64_t)(*p - '0');
	return n;
}

int store_write_number(const char *path, uint64_t n)
{
	char digits[21], *p = digits + sizeof digits - 1;

	*p = '\0';
	do {
		*--p = (char)('0' + n % 10);
		n /= 10;
	} while (n);
	return store_write(path, p);
}

int store_shutdown_asked(void)
{
	char text[SHORT];
	size_t len;

	while (ring && ring->answers_cons != ring->answers_prod) take(text, sizeof text, &len);
	if (!something_changed) return 0;
	something_changed = 0;
	if (!store_read(shutdown_key, text, sizeof text) || !text[0]) return 0;
	store_write(shutdown_key, ""); /* "seen" */
	return 1;
}
