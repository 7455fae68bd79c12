/* Whether a process ended because the kernel had no memory for its cgroup. */
#ifndef BERTH_SHIM_OOM_H
#define BERTH_SHIM_OOM_H
#include <stdbool.h>

#include "loop.h"

struct oom {
  char *file; /* what counts the kills in its cgroup; empty: nothing does */
  struct source source; /* the same, while the process runs */
  long kills_before; /* what the cgroup around it counted when none of its own was seen */
  long kills, kills_when_killed; /* what its own counted last, and when we sent it SIGKILL */
  void (*counted)(struct oom *); /* told when kills of its own are seen */
};
void oom_begin(struct oom *oom); /* before the process is there */
void oom_watch(struct oom *oom); /* as it runs */
void oom_will_be_killed(struct oom *oom); /* by us, before the signal */
void oom_others_counted(struct oom *other); /* kills around it while its own cgroup counts none were others' */
bool oom_ended(struct oom *oom, uint32_t code); /* it has ended: whether that was the end of it */
void oom_free(struct oom *oom);

#endif
