/* Copies of a stream for those attached to it. */
#include "tap.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "loop.h"

/* Whoever is attached reads from a pipe. When one is full its stream is not read on, so the container slows down; one
   that does not move at all for STALL_MS is cut off, so that nobody can stop a container by not reading. What the log
   gets does not depend on any of this. */
enum { MAX_TAPS = 1024, MAX_WAITING = 2097152, STALL_MS = 2000 };
struct tap {
  struct source source; /* polled for POLLERR too: that the reader went away is to be seen before the next output */
  struct tap *next;
  struct taps *all;
  struct timer stall;
  char *waiting;
  size_t size, sent;
  bool last; /* the stream has ended */
};

static void tap_free(struct tap *tap) {
  for (struct tap **at = &tap->all->first; *at; at = &(*at)->next) {
    if (*at != tap) continue;
    *at = tap->next;
    break;
  }
  if (tap->waiting) tap->all->stalled--;
  if (!tap->all->stalled) tap->all->flow(tap->all, true);
  timer_stop(&tap->stall);
  source_close(&tap->source);
  free(tap->waiting);
  free(tap);
}

static void cut_off(struct timer *timer) { tap_free(container_of(timer, struct tap, stall)); }

/* Bytes that went, or -1 if nobody reads. */
static ssize_t put(struct tap *tap, const char *text, size_t size) {
  ssize_t wrote = write(tap->source.fd, text, size);
  return wrote < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : wrote;
}

static void tap_ready(struct source *source) {
  struct tap *tap = container_of(source, struct tap, source);
  ssize_t wrote = tap->waiting ? put(tap, tap->waiting + tap->sent, tap->size - tap->sent) : -1;
  if (wrote < 0) return tap_free(tap);
  tap->sent += (size_t)wrote;
  if (wrote > 0) timer_arm(&tap->stall, STALL_MS, cut_off);
  if (tap->sent < tap->size) return;
  if (tap->last) return tap_free(tap);
  free(tap->waiting);
  tap->waiting = NULL;
  tap->size = tap->sent = 0;
  tap->source.events = POLLERR;
  timer_stop(&tap->stall);
  if (--tap->all->stalled == 0) tap->all->flow(tap->all, true);
}

static bool keep(struct tap *tap, const char *text, size_t size) {
  char *more = tap->size + size > MAX_WAITING ? NULL : realloc(tap->waiting, tap->size + size);
  if (!more) return false;
  if (!tap->waiting) {
    tap->all->stalled++;
    tap->all->flow(tap->all, false);
    tap->source.events = POLLOUT;
    timer_arm(&tap->stall, STALL_MS, cut_off);
  }
  memcpy(more + tap->size, text, size);
  tap->waiting = more;
  tap->size += size;
  return true;
}

void taps_feed(struct taps *taps, const char *text, size_t size) {
  for (struct tap *next, *tap = taps->first; tap; tap = next) {
    next = tap->next;
    ssize_t wrote = tap->waiting ? 0 : put(tap, text, size);
    size_t left = wrote < 0 ? 0 : size - (size_t)wrote;
    if (wrote < 0 || (left && !keep(tap, text + wrote, left))) tap_free(tap);
  }
}

void taps_end(struct taps *taps, bool at_once) {
  for (struct tap *next, *tap = taps->first; tap; tap = next) {
    next = tap->next;
    if (at_once || !tap->waiting) tap_free(tap);
    else tap->last = true;
  }
}

int tap_open(struct taps *taps) {
  int ends[2];
  size_t count = 0;
  for (struct tap *other = taps->first; other; other = other->next) count++;
  struct tap *tap = count < MAX_TAPS ? calloc(1, sizeof *tap) : NULL;
  if (!tap) return -ENOMEM;
  int failed = pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0 ? -errno : 0;
  if (!failed && (failed = source_open(&tap->source, ends[1], POLLERR, tap_ready))) {
    close(ends[0]);
    close(ends[1]);
  }
  if (failed) {
    free(tap);
    return failed;
  }
  tap->all = taps;
  tap->next = taps->first;
  taps->first = tap;
  return ends[0];
}
