/* The pause process before it is one. */
#ifndef BERTH_SHIM_HOLDER_H
#define BERTH_SHIM_HOLDER_H
#include <stdbool.h>

struct shim_sandbox;
struct wire_strings;
struct verdict {
  int err; /* 0: all went well */
  bool refused; /* by the kernel, as a value that cannot be: who asked for it is wrong, not the host */
  char step[248];
};
/* The first of these, name=value, that cannot be set in the namespaces that we are in ends it. */
void sysctls_write(const struct wire_strings *settings, struct verdict *verdict);
/* Runs in the new process. Says on `report` what failed, or has the pause program say that it waits. */
_Noreturn void holder_run(const struct shim_sandbox *want, int go, int report);

#endif
