/* Starting a command, from fork to exec. */
#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "descriptor.h"
#include "opener.h"
#include "text.h"

enum { MAX_ARGUMENTS = 65536 };

/* Only async-signal-safe calls from here on: this runs between fork and exec. */
static _Noreturn void run_child(const struct spawn *spawn, const char *oom, char **argv, char **env, int failure) {
  sigset_t none;
  sigemptyset(&none);
  for (int signo = 1; signo < NSIG; signo++) signal(signo, SIG_DFL);
  sigprocmask(SIG_SETMASK, &none, NULL);
  setsid();
  bool ready = true;
  for (int i = 0; ready && i < 3; i++) ready = dup2(spawn->stdio[i], i) == i;
  if (ready && spawn->log && !log_hand_over(spawn->log, spawn->log_socket, failure)) _exit(127);
  umask(022);
  /* How the daemon was started, or tuned, is not how containers are to run. What is not permitted stays as it is. */
  cpu_set_t every;
  memset(&every, 0xff, sizeof every);
  sched_setaffinity(0, sizeof every, &every);
  sched_setscheduler(0, SCHED_OTHER, &(struct sched_param){0});
  setpriority(PRIO_PROCESS, 0, 0);
  /* What a descendant abandons then comes to the command and not to the shim: at a deadline all of it is in reach. */
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  /* crun sets none for an exec, which would have the daemon's. Lower than that takes CAP_SYS_RESOURCE: then it stays. */
  if (spawn->adjust_oom) write_file("/proc/self/oom_score_adj", 0, oom, strlen(oom));
  ready = ready && chdir(spawn->cwd) == 0;
  /* Every descriptor of ours has close-on-exec already; this is for one that a library might have opened. */
  syscall(SYS_close_range, 3, ~0U, CLOSE_RANGE_CLOEXEC);
  if (ready) execve(argv[0], argv, env);
  int err = errno;
  if (write(failure, &err, sizeof err) < 0) _exit(126);
  _exit(127);
}

static char **list_of(struct wire_strings strings) {
  char **list = strings.count > MAX_ARGUMENTS ? NULL : calloc((size_t)strings.count + 1, sizeof *list);
  const char *text = strings.first;
  for (uint32_t i = 0; list && i < strings.count; i++, text = wire_next(text)) list[i] = (char *)(uintptr_t)text;
  return list;
}

/* The argument with {console} replaced, in `out`; NULL if it has none or does not fit. */
static char *with_console(const char *argument, const char *console, char out[300]) {
  static const char mark[] = "{console}";
  const char *at = strstr(argument, mark);
  char before[160];
  if (!at || (size_t)(at - argument) >= sizeof before) return NULL;
  memcpy(before, argument, (size_t)(at - argument));
  before[at - argument] = 0;
  return join_parts(out, 300, (const char *const[]){before, console, at + sizeof mark - 1}, 3) ? out : NULL;
}

/* Starts a command in a session of its own; the caller keeps its stdio descriptors. Returns its pid or -errno.
   *failure is to be read once it ended: it holds an errno if the command could not be executed, else nothing. */
pid_t spawn_command(const struct spawn *spawn, int *failure) {
  int ends[2];
  char replaced[300], digits[24], oom[26];
  int64_t score = spawn->oom_score_adj;
  join(oom, score < 0 ? "-" : "", decimal(digits, (uint64_t)(score < 0 ? -score : score), 1));
  if (spawn->argv.count == 0 || *spawn->argv.first != '/') return -EINVAL;
  char **argv = list_of(spawn->argv), **env = list_of(spawn->env);
  pid_t pid = argv && env ? 0 : -ENOMEM;
  for (uint32_t i = 0; spawn->console && pid == 0 && i < spawn->argv.count; i++) {
    char *argument = with_console(argv[i], spawn->console, replaced);
    if (!argument) continue;
    argv[i] = argument;
    break;
  }
  if (pid == 0) pid = open_pipe(ends);
  if (pid == 0) {
    pid = fork();
    if (pid == 0) run_child(spawn, oom, argv, env, ends[1]);
    if (pid < 0) {
      pid = -errno;
      close(ends[0]);
    } else {
      *failure = ends[0];
    }
    close(ends[1]);
  }
  free(argv);
  free(env);
  return pid;
}
