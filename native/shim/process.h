/* Tracked processes: those that containers are. */
#ifndef BERTH_SHIM_PROCESS_H
#define BERTH_SHIM_PROCESS_H
#include <sys/types.h>
#include <time.h>

#include "log.h"
#include "loop.h"
#include "protocol.h"

struct stream;
struct process {
  struct process *next;
  char *key, *oom_file, *exit_file;
  pid_t pid; /* 0 until the OCI runtime made it */
  bool running, ended, oom_killed, tty;
  int status, input; /* input: the write end of stdin, or the terminal's master, or -1 */
  int pid_namespace; /* a descriptor of it, or -1: nobody asked to share it */
  struct timespec at;
  struct log_file log;
  struct stream *stream[2];
  struct source oom;  /* its cgroup's count of kills */
  long kills_before;  /* what the cgroup around it counted when none of its own was seen */
  long oom_kills, kills_when_killed; /* what its own counted last, and when we sent it SIGKILL */
  struct timer retry; /* of the exit file, while the disk refuses it */
  struct timer telling; /* of what the log lost since it was last told */
  uint64_t told_at, told_bytes, told_lines;
};
struct process *process_new(const struct shim_start *want, int *err);
struct process *process_find(const char *key);
void process_started(struct process *process, pid_t pid);
void process_ended(struct process *process, int status);
void process_will_be_killed(struct process *process); /* by us, before the signal */
void process_attach(uint64_t client, uint32_t request, const struct shim_attach *want);
void process_hold(uint64_t client, uint32_t request, const char *key);
void process_free(struct process *process);
bool processes_reaped(pid_t pid, int status);
bool processes_running(void);
bool processes_have(pid_t pid); /* one that runs */
void processes_kill(void);
void processes_forget(void); /* what is left of their last lines goes to the logs */
void processes_list(uint64_t client, uint32_t request);
uint32_t exit_code(int status); /* as a shell says it: 128 + signal */
static inline uint32_t exit_signal(int status) { return (uint32_t)(status & 0x7f); }

#endif
