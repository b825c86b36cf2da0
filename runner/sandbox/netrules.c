/* Which addresses a box reaches, as a table for nft. In this order, the first that fits decides: the box's own
 * loopback, what IPv6 needs to find its gateway, the owner's refusals, name servers, the owner's exceptions, and then
 * all that is refused to everybody. What is left is the internet. */
#include "runner/sandbox/netrules.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/buf.h"
#include "lib/fs.h"
#include "runner/sandbox/box.h"
#include "runner/sandbox/host.h"

static const char *const refused[] = {
	"0.0.0.0/8", "127.0.0.0/8", "::1",
	/* link-local: neighbours, and the metadata service of most clouds */
	"169.254.0.0/16", "fe80::/10", "64:ff9b::a9fe:0/112",
	/* multicast and broadcast: a datagram to all would reach this host too */
	"224.0.0.0/4", "240.0.0.0/4", "ff00::/8",
	/* metadata services elsewhere: Azure, Alibaba, Oracle, Amazon and Google by IPv6 */
	"168.63.129.16", "100.100.100.200", "192.0.0.192", "fd00:ec2::254", "fd20:ce::254"};

void netrules_release(struct netrules *r)
{
	vec_release(&r->own);
	vec_release(&r->servers);
	vec_release(&r->allow);
	vec_release(&r->refuse);
}

/* "ip" or "ip6" for ADDRESS[/BITS]; NULL for anything else. Nothing else of these texts ever comes to nft's eyes. */
static const char *family(const char *text)
{
	_cleanup_free_ char *address = xstrndup(text, strcspn(text, "/"));
	const char *slash = strchr(text, '/');
	unsigned char bytes[16];
	long bits = 0, most;
	char *end;
	int v4 = inet_pton(AF_INET, address, bytes) == 1;

	if (!v4 && inet_pton(AF_INET6, address, bytes) != 1) return NULL;
	most = v4 ? 32 : 128;
	if (slash) {
		if (slash[1] < '0' || slash[1] > '9') return NULL;
		bits = strtol(slash + 1, &end, 10);
		if (*end || bits > most) return NULL;
	}
	return v4 ? "ip" : "ip6";
}

/* port: decimal digits, or NULL for all of the address. */
static int add_rule(struct buf *b, const char *address, const char *port, const char *verdict, struct err *e)
{
	const char *f = family(address);
	long n = 0;
	char *end;

	if (!f) return err_set(e, ERR_INPUT, "'%s' is no address and no network", address);
	if (port) {
		n = *port >= '0' && *port <= '9' ? strtol(port, &end, 10) : 0;
		if (n < 1 || n > 65535 || *end) return err_set(e, ERR_INPUT, "'%s' is no port", port);
	}
	if (!port)
		buf_addf(b, "  %s daddr %s %s\n", f, address, verdict);
	else
		buf_addf(b, "  %s daddr %s meta l4proto { tcp, udp } th dport %ld %s\n", f, address, n, verdict);
	return 0;
}

static int add_refused(struct buf *b, const char *address, struct err *e)
{
	return add_rule(b, address, NULL, "reject with icmpx admin-prohibited", e);
}

/* An IPv6 network without IPv4 reaches that by a translator, and through it this host again. src: RFC 6052 */
static int add_own(struct buf *b, const char *address, struct err *e)
{
	unsigned char translated[16] = {0, 0x64, 0xff, 0x9b};
	char text[INET6_ADDRSTRLEN];

	if (add_refused(b, address, e)) return -1;
	if (inet_pton(AF_INET, address, translated + 12) != 1) return 0;
	inet_ntop(AF_INET6, translated, text, sizeof(text));
	return add_refused(b, text, e);
}

static int add_allowed(struct buf *b, const char *row, struct err *e)
{
	_cleanup_vec_ struct vec words = VEC_INIT;

	host_words(row, &words);
	if (words.len < 1 || words.len > 2) return err_set(e, ERR_INPUT, "'%s' is not ADDRESS[/BITS] [PORT]", row);
	return add_rule(b, words.items[0], words.len == 2 ? words.items[1] : NULL, "accept", e);
}

int netrules_text(const struct netrules *r, char **text_r, struct err *e)
{
	struct buf b = BUF_INIT(60000);
	int failed = 0;

	buf_adds(&b, "table inet slipway {\n chain out {\n  type filter hook output priority 0; policy accept;\n"
		     "  oifname \"lo\" accept\n"
		     "  icmpv6 type { nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert } accept\n");
	for (size_t i = 0; i < r->refuse.len && !failed; i++) failed = add_refused(&b, r->refuse.items[i], e);
	for (size_t i = 0; i < r->servers.len && !failed; i++)
		failed = add_rule(&b, r->servers.items[i], "53", "accept", e);
	for (size_t i = 0; i < r->allow.len && !failed; i++) failed = add_allowed(&b, r->allow.items[i], e);
	for (size_t i = 0; i < r->own.len && !failed; i++) failed = add_own(&b, r->own.items[i], e);
	for (size_t i = 0; i < ARRAY_LEN(refused) && !failed; i++) failed = add_refused(&b, refused[i], e);
	buf_adds(&b, " }\n}\n");
	if (!failed && b.overflow) failed = err_set(e, ERR_INPUT, "too many addresses for one box's rules");
	if (failed) {
		buf_release(&b);
		return -1;
	}
	*text_r = buf_steal(&b);
	return 0;
}

int netrules_list(const char *path, struct vec *to, struct err *e)
{
	_cleanup_buf_ struct buf text = BUF_INIT(1 << 20);

	if (!fs_exists(path)) return 0;
	if (fs_read_file(path, &text, e)) return -1;
	for (const char *p = buf_str(&text); *p;) {
		size_t len = strcspn(p, "\n"), used = strcspn(p, "#\n");
		size_t blank = strspn(p, " \t");
		_cleanup_free_ char *row = NULL;
		struct netrules probe = {0};
		char *ignored;
		int failed;

		while (used > blank && strchr(" \t", p[used - 1])) used--;
		row = xstrndup(p + blank, used > blank ? used - blank : 0);
		p += len + (p[len] == '\n');
		if (!*row) continue;
		vec_add(&probe.allow, row);
		failed = netrules_text(&probe, &ignored, e);
		netrules_release(&probe);
		if (failed) return err_wrap(e, "'%s'", path);
		free(ignored);
		vec_take(to, steal(row));
	}
	return 0;
}

static void add_address(struct vec *to, const struct sockaddr *a)
{
	char text[INET6_ADDRSTRLEN] = "";

	if (!a) return;
	if (a->sa_family == AF_INET)
		inet_ntop(AF_INET, &((const struct sockaddr_in *)(const void *)a)->sin_addr, text, sizeof(text));
	if (a->sa_family == AF_INET6)
		inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)(const void *)a)->sin6_addr, text, sizeof(text));
	if (*text && !vec_has(to, text)) vec_add(to, text);
}

int netrules_look(struct netrules *r, struct err *e)
{
	_cleanup_free_ char *servers = box_net_servers();
	_cleanup_vec_ struct vec words = VEC_INIT;
	struct ifaddrs *list;

	if (getifaddrs(&list)) return err_sys(e, "cannot list this host's addresses");
	for (struct ifaddrs *p = list; p; p = p->ifa_next) {
		add_address(&r->own, p->ifa_addr);
		if (p->ifa_flags & IFF_POINTOPOINT) continue;
		if (p->ifa_flags & IFF_BROADCAST && p->ifa_addr && p->ifa_addr->sa_family == AF_INET)
			add_address(&r->own, p->ifa_broadaddr);
	}
	freeifaddrs(list);
	host_words(servers, &words);
	for (size_t i = 0; i + 1 < words.len; i++)
		if (!strcmp(words.items[i], "nameserver") && family(words.items[i + 1]))
			vec_add(&r->servers, words.items[i + 1]);
	return 0;
}
