/* The requests that run a command: what each makes of a job. */
#include "command.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "child.h"
#include "descriptor.h"
#include "job.h"
#include "opener.h"
#include "process.h"
#include "sandbox.h"

enum { RUNTIME_OUTPUT = 65536 };

static int open_null(void) {
  int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
  return fd < 0 ? -errno : fd;
}

static int open_input_pipe(int ends[2]) {
  int failed = open_pipe(ends);
  if (!failed) sandbox_give(ends[0]);
  return failed;
}

/* A file in memory needs nobody to feed it. */
static int open_input(struct wire_bytes bytes) {
  if (bytes.size == 0) return open_null();
  int fd = memfd_create("stdin", MFD_CLOEXEC);
  if (fd < 0) return -errno;
  for (uint32_t done = 0; done < bytes.size;) {
    ssize_t wrote = write(fd, bytes.data + done, bytes.size - done);
    if (wrote < 0) {
      int err = errno;
      close(fd);
      return -err;
    }
    done += (uint32_t)wrote;
  }
  lseek(fd, 0, SEEK_SET);
  return fd;
}

void command_run(uint64_t client, uint32_t request, const struct shim_run *want) {
  struct job *job = job_new(client, request, RUN, "");
  if (!job) return;
  job->drain_ms = want->drain_ms;
  struct spawn spawn = {.argv = want->argv, .env = want->env, .cwd = want->cwd, .stdio = {open_input(want->stdin)}};
  job_begin(job, &spawn, want->max_output, want->deadline_ms);
}

void command_exec(uint64_t client, uint32_t request, const struct shim_exec *want) {
  struct job *job = job_new(client, request, EXEC, want->pid_file);
  if (!job) return;
  job->drain_ms = want->drain_ms;
  job->deadline_ms = want->deadline_ms;
  struct spawn spawn = {.argv = want->argv,
                        .env = want->env,
                        .cwd = want->cwd,
                        .stdio = {open_null()},
                        .adjust_oom = want->adjust_oom,
                        .oom_score_adj = want->oom_score_adj};
  job_begin(job, &spawn, want->max_output, want->start_deadline_ms);
}

void command_open_exec(uint64_t client, uint32_t request, const struct shim_open_exec *want) {
  int err, input[2] = {-1, -1};
  struct job *job = job_new(client, request, OPEN, want->pid_file);
  if (!job) return;
  job->wanted[0] = want->stdout;
  job->wanted[1] = want->stderr;
  if (want->tty && (err = console_open(&job->console)))
    return job_fail(job, err, "open the console socket of", "an exec");
  err = want->stdin && !want->tty ? open_input_pipe(input) : (input[0] = open_null()) < 0 ? input[0] : 0;
  if (err) return job_fail(job, err, "open the standard input of", "an exec");
  job->input = input[1];
  struct spawn spawn = {.argv = want->argv,
                        .env = want->env,
                        .cwd = want->cwd,
                        .stdio = {input[0]},
                        .console = want->tty ? job->console.path : NULL,
                        .adjust_oom = want->adjust_oom,
                        .oom_score_adj = want->oom_score_adj};
  job_begin(job, &spawn, RUNTIME_OUTPUT, want->start_deadline_ms);
}

void command_start(uint64_t client, uint32_t request, const struct shim_start *want) {
  int err, input[2] = {-1, -1};
  struct job *job = job_new(client, request, START, want->pid_file);
  if (!job) return;
  job->drain_ms = want->drain_ms;
  if (!(job->process = process_new(want, &err))) return job_fail(job, err, "track", want->key);
  if (want->tty && (err = console_open(&job->console)))
    return job_fail(job, err, "open the console socket of", want->key);
  if (want->stdin && !want->tty) {
    if ((err = open_input_pipe(input))) return job_fail(job, err, "open the standard input of", want->key);
    job->process->input = input[1];
  } else {
    input[0] = open_null();
  }
  struct spawn spawn = {.argv = want->argv,
                        .env = want->env,
                        .cwd = want->cwd,
                        .stdio = {input[0]},
                        .console = want->tty ? job->console.path : NULL};
  job->start_ms = want->deadline_ms;
  if (!*want->log_path) {
    job_begin(job, &spawn, RUNTIME_OUTPUT, want->deadline_ms);
    return;
  }
  spawn.log = &job->process->log;
  if ((spawn.log_socket = job_open_log(job)) < 0) {
    close_held(&input[0]);
    return job_fail(job, spawn.log_socket, "open a socket for the log of", want->key);
  }
  job_begin(job, &spawn, RUNTIME_OUTPUT, want->log_deadline_ms ? want->log_deadline_ms : LOG_OPEN_MS);
}
