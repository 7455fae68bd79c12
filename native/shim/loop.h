/* One thread, one poll() loop: sources of events and timers. A handler may close any source, its own included. */
#ifndef BERTH_SHIM_LOOP_H
#define BERTH_SHIM_LOOP_H
#include <stddef.h>
#include <stdint.h>

/* How a handler finds what its source or timer is part of. */
#define container_of(pointer, type, member) ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

struct source {
  int fd;
  short events;
  size_t index;
  void (*ready)(struct source *);
};
struct timer {
  uint64_t at; /* milliseconds, monotonic; 0: not armed */
  void (*fire)(struct timer *);
  struct timer *next;
};
int source_open(struct source *source, int fd, short events, void (*ready)(struct source *));
void source_close(struct source *source);
void timer_arm(struct timer *timer, uint64_t delay_ms, void (*fire)(struct timer *));
void timer_stop(struct timer *timer);
uint64_t now_ms(void);
uint64_t now_us(void);
int loop_turn(void);

#endif
