/* News of what a log lost: not of each line, and not before its process is known. */
#include "losses.h"

#include "client.h"

enum { TELL_MS = 1000 };

void losses_tell(struct losses *losses) {
  const struct log_file *log = losses->log;
  timer_stop(&losses->telling);
  if (!losses->known || (log->lost_bytes == losses->told_bytes && log->lost_lines == losses->told_lines)) return;
  losses->told_bytes = log->lost_bytes;
  losses->told_lines = log->lost_lines;
  losses->told_at = now_ms();
  SEND(EVERY_CLIENT, log_lost, LOG_LOST, 0, .key = losses->key, .lost_bytes = log->lost_bytes,
       .lost_lines = log->lost_lines, .lost_error = (uint32_t)log->lost_error);
}

static void tell(struct timer *timer) { losses_tell(container_of(timer, struct losses, telling)); }

void losses_grew(struct losses *losses) {
  if (!losses->known || losses->telling.at) return;
  uint64_t since = now_ms() - losses->told_at;
  timer_arm(&losses->telling, since < TELL_MS ? TELL_MS - since : 0, tell);
}
