/* What is told of a build's end: JSON and a mail. Names, branches and messages are strangers'. */
#include <sodium.h>
#include <string.h>
#include <time.h>

#include "runner/report/notify.h"
#include "runner/report/report.h"
#include "runner/report/report_text.h"

enum { SUBJECT_MAX = 200, MAIL_MAX = 1 << 20 };

json_t *notify_json(const struct build_row *b, const struct job_row *jobs, size_t njobs, const char *delivery,
		    const char *url)
{
	return json_pack("{s:s, s:s, s:o, s:o}", "delivery", delivery, "event", "build", "url", report_text(url),
			 "build", report_build_json(b, jobs, njobs));
}

/* Encoded as a whole where it is not plain; a word of it holds 75 characters at the most.
 *  src  RFC 2047 */
static void add_subject(struct buf *out, const char *text)
{
	enum { STEP = 42 };
	size_t len = strlen(text);
	int plain = 1;

	for (const char *p = text; *p; p++) plain &= (unsigned char)*p >= 0x20 && (unsigned char)*p < 0x7f;
	buf_adds(out, "Subject: ");
	if (plain && len < SUBJECT_MAX) {
		buf_addf(out, "%s\n", text);
		return;
	}
	for (size_t at = 0; at < len;) {
		size_t n = len - at < STEP ? len - at : STEP;
		char word[sodium_base64_ENCODED_LEN(STEP, sodium_base64_VARIANT_ORIGINAL)];

		while (n > 1 && at + n < len && ((unsigned char)text[at + n] & 0xc0) == 0x80) n--;
		sodium_bin2base64(word, sizeof(word), (const unsigned char *)text + at, n,
				  sodium_base64_VARIANT_ORIGINAL);
		buf_addf(out, "%s=?UTF-8?B?%s?=\n", at ? " " : "", word);
		at += n;
	}
}

static void add_date(struct buf *out, int64_t now_ms)
{
	static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
	static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
					     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
	time_t now = (time_t)(now_ms / 1000);
	struct tm tm;

	if (!gmtime_r(&now, &tm)) return;
	buf_addf(out, "Date: %s, %02d %s %04d %02d:%02d:%02d +0000\n", days[tm.tm_wday], tm.tm_mday, months[tm.tm_mon],
		 tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
}

char *notify_mail(const struct build_row *b, const struct job_row *jobs, size_t njobs, const char *delivery,
		  const char *url, const char *to, const char *from, int64_t now_ms)
{
	_cleanup_buf_ struct buf subject = BUF_INIT(4096);
	struct buf out = BUF_INIT(MAIL_MAX);

	buf_addf(&subject, "[%s] build %d %s: ", b->repo, b->number, build_state_name(b->state));
	report_plain(&subject, b->branch ? b->branch : b->ref, 100);
	buf_addf(&subject, " %.8s", b->commit ? b->commit : "");
	if (from) buf_addf(&out, "From: %s\n", from);
	buf_addf(&out, "To: %s\n", to);
	add_subject(&out, buf_str(&subject));
	add_date(&out, now_ms);
	buf_addf(&out,
		 "Message-ID: <%s@slipway.invalid>\nAuto-Submitted: auto-generated\nMIME-Version: 1.0\n"
		 "Content-Type: text/plain; charset=UTF-8\nContent-Transfer-Encoding: 8bit\n\n",
		 delivery);
	report_build_line(b, now_ms, &out);
	for (size_t i = 0; i < njobs; i++) report_job_line(b, &jobs[i], now_ms, 0, &out);
	if (url) buf_addf(&out, "\n%s\n", url);
	return buf_steal(&out);
}
