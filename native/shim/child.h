/* Starting a command, from fork to exec. */
#ifndef BERTH_SHIM_CHILD_H
#define BERTH_SHIM_CHILD_H
#include <sys/types.h>

#include "wire.h"

struct log_file;
struct spawn {
  struct wire_strings argv, env;
  const char *cwd, *console; /* console replaces {console} in argv */
  bool adjust_oom;
  int32_t oom_score_adj;
  int stdio[3];
  const struct log_file *log; /* opened before the command begins, and handed over by this socket; or NULL */
  int log_socket;
};
pid_t spawn_command(const struct spawn *spawn, int *failure);

#endif
