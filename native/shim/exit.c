/* How a process ended: the file that says so, which comes first, and the frame. */
#include "exit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client.h"
#include "text.h"

enum { RETRY_MS = 1000 };

uint32_t exit_code(int status) { return WIFEXITED(status) ? (uint32_t)WEXITSTATUS(status) : 128 + exit_signal(status); }

/* Temporary file and rename: a reader sees the whole record or none. */
static int write_exit_file(const struct ending *ending) {
  char text[512], temporary[4096], pid[24], code[24], signo[24], second[24], nano[24];
  if (!*ending->file) return 0;
  join(text, "{\"v\":1,\"key\":\"", ending->key, "\",\"pid\":", decimal(pid, (uint64_t)ending->pid, 1),
       ",\"code\":", decimal(code, exit_code(ending->status), 1),
       ",\"signal\":", decimal(signo, exit_signal(ending->status), 1),
       ",\"oomKilled\":", ending->oom_killed ? "true" : "false", ",\"at\":\"",
       decimal(second, (uint64_t)ending->at.tv_sec, 1), ".", decimal(nano, (uint64_t)ending->at.tv_nsec, 9), "\"}\n");
  if (!join(temporary, ending->file, ".tmp")) return -ENAMETOOLONG;
  int failed = write_file(temporary, O_CREAT | O_TRUNC, text, strlen(text));
  if (!failed && rename(temporary, ending->file) < 0) failed = -errno;
  if (failed) unlink(temporary);
  return failed;
}

static void try_to_write(struct timer *timer) {
  struct ending *ending = container_of(timer, struct ending, retry);
  int failed = write_exit_file(ending);
  if (!failed) return;
  complain("cannot write the exit file", ending->file, -failed);
  timer_arm(timer, RETRY_MS, try_to_write);
}

void exit_record(struct ending *ending) { try_to_write(&ending->retry); }

void exit_tell(const struct ending *ending) {
  SEND(EVERY_CLIENT, exit, EXIT, 0, .key = ending->key, .pid = (uint32_t)ending->pid, .code = exit_code(ending->status),
       .signal = exit_signal(ending->status), .oom_killed = ending->oom_killed,
       .at_seconds = (uint64_t)ending->at.tv_sec, .at_nanos = (uint32_t)ending->at.tv_nsec);
}

void exit_free(struct ending *ending) {
  timer_stop(&ending->retry);
  free(ending->file);
}
