/* The pause process before it is one. */
#ifndef BERTH_SHIM_HOLDER_H
#define BERTH_SHIM_HOLDER_H

struct shim_sandbox;
struct verdict {
  int err; /* 0: all went well */
  char step[252];
};
int sysctl_write(const char *setting); /* name=value, of the namespaces that we are in; 0 or -errno */
/* Runs in the new process. Says on `report` what failed, or has the pause program say that it waits. */
_Noreturn void holder_run(const struct shim_sandbox *want, int go, int report);

#endif
