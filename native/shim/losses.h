/* News of what a log lost: not of each line, and not before its process is known. */
#ifndef BERTH_SHIM_LOSSES_H
#define BERTH_SHIM_LOSSES_H
#include <stdbool.h>

#include "log.h"
#include "loop.h"

struct losses {
  const char *key; /* whose log it is */
  const struct log_file *log;
  bool known; /* its process is there: should its OCI runtime fail before, what is in the log is taken back */
  struct timer telling; /* of what was lost since it was last told */
  uint64_t told_at, told_bytes, told_lines;
};
void losses_grew(struct losses *losses);
void losses_tell(struct losses *losses); /* what was not told yet, now */

#endif
