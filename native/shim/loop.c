/* The loop: poll() over all sources, and the timer that is next. */
#include "loop.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

/* Index i of both arrays is one source; a closed one leaves NULL until the turn ends, so that an index is stable. */
static struct source **sources;
static struct pollfd *polled;
static size_t count, capacity;
static struct timer *timers;

static int grow(void) {
  size_t wanted = capacity ? capacity * 2 : 16;
  void *more = realloc(sources, wanted * sizeof *sources);
  if (!more) return -ENOMEM;
  sources = more;
  more = realloc(polled, wanted * sizeof *polled);
  if (!more) return -ENOMEM;
  polled = more;
  capacity = wanted;
  return 0;
}

int source_open(struct source *source, int fd, short events, void (*ready)(struct source *)) {
  if (count == capacity && grow()) return -ENOMEM;
  *source = (struct source){.fd = fd, .events = events, .index = count, .ready = ready};
  sources[count] = source;
  polled[count++] = (struct pollfd){.fd = -1};
  return 0;
}

void source_close(struct source *source) {
  if (source->fd < 0) return;
  sources[source->index] = NULL;
  close(source->fd);
  source->fd = -1;
}

uint64_t now_us(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

uint64_t now_ms(void) { return now_us() / 1000; }

void timer_stop(struct timer *timer) {
  if (!timer->at) return;
  for (struct timer **at = &timers; *at; at = &(*at)->next) {
    if (*at != timer) continue;
    *at = timer->next;
    break;
  }
  timer->at = 0;
}

void timer_arm(struct timer *timer, uint64_t delay_ms, void (*fire)(struct timer *)) {
  timer_stop(timer);
  *timer = (struct timer){.at = now_ms() + delay_ms + 1, .fire = fire, .next = timers};
  timers = timer;
}

static struct timer *first_timer(void) {
  struct timer *first = timers;
  for (struct timer *timer = timers; timer; timer = timer->next)
    if (timer->at < first->at) first = timer;
  return first;
}

static int fire_timers(void) {
  for (struct timer *timer; (timer = first_timer());) {
    uint64_t now = now_ms();
    if (timer->at > now) return timer->at - now > 60000 ? 60000 : (int)(timer->at - now);
    timer_stop(timer);
    timer->fire(timer);
  }
  return -1;
}

static void compact(void) {
  size_t kept = 0;
  for (size_t i = 0; i < count; i++) {
    if (!sources[i]) continue;
    sources[kept] = sources[i];
    sources[kept]->index = kept;
    polled[kept] =
        (struct pollfd){.fd = sources[kept]->events ? sources[kept]->fd : -1, .events = sources[kept]->events};
    kept++;
  }
  count = kept;
}

int loop_turn(void) {
  int timeout = fire_timers();
  compact();
  if (poll(polled, count, timeout) < 0) return errno == EINTR ? 0 : -errno;
  size_t known = count; /* sources opened by a handler wait for the next turn */
  for (size_t i = 0; i < known; i++)
    if (sources[i] && polled[i].fd >= 0 && polled[i].revents) sources[i]->ready(sources[i]);
  return 0;
}
