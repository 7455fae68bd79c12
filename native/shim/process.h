/* Tracked processes: those that containers are. */
#ifndef BERTH_SHIM_PROCESS_H
#define BERTH_SHIM_PROCESS_H
#include <sys/types.h>

#include "exit.h"
#include "log.h"
#include "losses.h"
#include "oom.h"
#include "protocol.h"

struct stream;
struct process {
  struct process *next;
  char *key;
  pid_t pid; /* 0 until the OCI runtime made it */
  bool running, ended, tty;
  int input; /* the write end of stdin, or the terminal's master, or -1 */
  int pid_namespace; /* a descriptor of it, or -1: nobody asked to share it */
  struct log_file log;
  struct losses losses;
  struct stream *stream[2];
  struct oom oom;
  struct ending ending;
};
struct process *process_new(const struct shim_start *want, int *err);
struct process *process_find(const char *key);
void process_started(struct process *process, pid_t pid);
void process_ended(struct process *process, int status);
int process_namespace(struct process *process); /* of a running one: a descriptor that is the process's, or -errno */
void process_free(struct process *process);
bool processes_reaped(pid_t pid, int status);
bool processes_running(void);
bool processes_have(pid_t pid); /* one that runs */
void processes_kill(void);
void processes_forget(void); /* what is left of their last lines goes to the logs */
void processes_list(uint64_t client, uint32_t request); /* a frame for each */

#endif
