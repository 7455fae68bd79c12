/* How a process ended: the file that says so, which comes first, and the frame. */
#ifndef BERTH_SHIM_EXIT_H
#define BERTH_SHIM_EXIT_H
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "loop.h"

struct ending {
  char *file; /* empty: none is wanted */
  int status;
  bool oom_killed;
  struct timespec at;
  const char *key; /* whose it is */
  pid_t pid;
  struct timer retry; /* of the file, while the disk refuses it */
};
void exit_record(struct ending *ending); /* in the file: now, or once the disk takes it */
void exit_tell(const struct ending *ending); /* every client */
void exit_free(struct ending *ending);
uint32_t exit_code(int status); /* as a shell says it: 128 + signal */
static inline uint32_t exit_signal(int status) { return (uint32_t)(status & 0x7f); }

#endif
