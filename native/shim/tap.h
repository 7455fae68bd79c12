/* Copies of a stream for those attached to it. */
#ifndef BERTH_SHIM_TAP_H
#define BERTH_SHIM_TAP_H
#include <stdbool.h>
#include <stddef.h>

struct tap;
struct taps {
  struct tap *first;
  size_t stalled; /* those that have to be written to before more is read for them */
  void (*flow)(struct taps *, bool on); /* whether more may be read: told when it changes, and sometimes when not */
};
int tap_open(struct taps *taps); /* the read end, or -errno */
void taps_feed(struct taps *taps, const char *text, size_t size);
void taps_end(struct taps *taps, bool at_once); /* not at once: when each has what is waiting for it */

#endif
