/* Commands in flight: from what began one to its answer. */
#include "job.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "child.h"
#include "client.h"
#include "console.h"
#include "descriptor.h"
#include "loop.h"
#include "opener.h"
#include "orphan.h"
#include "process.h"
#include "sandbox.h"
#include "stream.h"
#include "text.h"
#include "tree.h"

enum { MAX_JOBS = 2048, GRACE_MS = 2000 };
static struct job *jobs;
static size_t running;

/* A process that was not handed over never ran, or its OCI runtime undid it: what was logged were other words. */
static void unlog(struct job *job) {
  bool out = stream_leave_log(job->stream[0]), err = stream_leave_log(job->stream[1]);
  if (job->process && (out || err)) log_take_back(&job->process->log);
}

static void job_free(struct job *job) {
  for (struct job **at = &jobs; *at; at = &(*at)->next) {
    if (*at != job) continue;
    *at = job->next;
    running--;
    break;
  }
  timer_stop(&job->deadline);
  timer_stop(&job->drain);
  unlog(job);
  for (int i = 0; i < 2; i++) stream_free(job->stream[i]);
  if (job->process) process_free(job->process);
  int master = console_take(&job->console);
  close_held(&master);
  close_held(&job->input);
  close_held(&job->failure);
  source_close(&job->log);
  free(job->pid_file);
  free(job);
}

/* Before the answer: who has it finds nothing of the job. */
static void tidy(const struct job *job) {
  if (job->pid_file) unlink(job->pid_file);
}

void job_fail(struct job *job, int err, const char *step, const char *about) {
  tidy(job);
  send_failed(job->client, job->request, SHIM_FAILED_SYSTEM, err, step, about);
  job_free(job);
}

/* The OCI runtime said that all is well, and it is not: the errno is of what it left, and says nothing of the host. */
static void fail_untrue(struct job *job, int err, const char *step, const char *about) {
  tidy(job);
  send_failed(job->client, job->request, SHIM_FAILED_UNTRUE, err, step, about);
  job_free(job);
}

static struct wire_bytes captured(const struct stream *stream) {
  return stream ? (struct wire_bytes){stream->data, (uint32_t)stream->size} : (struct wire_bytes){0};
}

static void finish(struct job *job, pid_t pid) {
  unlog(job); /* before it is answered: who has the answer may read the log */
  tidy(job);
  const struct stream *out = job->stream[0], *err = job->stream[1];
  SEND(job->client, result, RESULT, job->request, .pid = (uint32_t)pid, .started = job->started,
       .code = exit_code(job->status), .signal = exit_signal(job->status), .timed_out = job->stop == TIMED_OUT,
       .stdout_truncated = out && out->truncated, .stderr_truncated = err && err->truncated, .stdout = captured(out),
       .stderr = captured(err), .begun_us = job->begun_us, .ended_us = job->ended_us);
  job_free(job);
}

static void settle(void *owner) {
  struct job *job = owner;
  if (job->phase == OVER && stream_ended(job->stream[0]) && stream_ended(job->stream[1])) finish(job, 0);
}

static void drained(struct timer *timer) { finish(container_of(timer, struct job, drain), 0); }

/* The process that counts is gone; its streams may be open in what it left behind, which gets a bounded time. */
static void end(struct job *job, int status) {
  job->status = status;
  job->phase = OVER;
  job->pid = 0;
  timer_stop(&job->deadline);
  for (int i = 0; i < 2; i++) stream_drain(job->stream[i]);
  timer_arm(&job->drain, job->drain_ms, drained);
  settle(job);
}

static void give_up(struct timer *timer) {
  struct job *job = container_of(timer, struct job, deadline);
  complain("killed, yet it does not end:", job->name, ETIMEDOUT);
  end(job, SIGKILL); /* whenever it ends, it is reaped as a stranger */
}

static void stop(struct job *job, enum stop why) {
  if (job->phase == OVER || job->stop) return;
  job->stop = why;
  timer_arm(&job->deadline, GRACE_MS, give_up);
  pid_t root = job->phase == AWAITED ? tree_child_above(job->pid) : job->pid;
  if (root) tree_kill(root);
  if (job->phase == AWAITED) end(job, SIGKILL); /* it is not ours to reap */
}

static void expire(struct timer *timer) { stop(container_of(timer, struct job, deadline), TIMED_OUT); }

static void fail_log(struct job *job, int err) { job_fail(job, err, "open the log", job->process->log.path); }

/* Until now it is our own child and nothing else: nobody waits for its end, which may not come. */
static void log_late(struct timer *timer) {
  struct job *job = container_of(timer, struct job, deadline);
  if (job->pid) kill(job->pid, SIGKILL);
  complain("it takes too long to open the log", job->process->log.path, ETIMEDOUT);
  fail_log(job, ETIMEDOUT);
}

static void log_ready(struct source *source) {
  struct job *job = container_of(source, struct job, log);
  int fd = log_take_over(source->fd);
  if (fd == -EAGAIN) return;
  source_close(source);
  if (fd < 0) job->log_failure = -fd;
  else log_begin(&job->process->log, fd);
  for (int i = 0; i < 2; i++) {
    if (!job->stream[i]) continue;
    if (!job->process->tty) stream_overflow_to(job->stream[i], &job->process->log);
    if (!stream_ended(job->stream[i])) stream_release(job->stream[i]);
  }
  if (!job->stop) timer_arm(&job->deadline, job->start_ms, expire);
}

static void hand_over(struct job *job, pid_t pid, int master, bool gone, int status) {
  struct process *process = job->process;
  for (int i = 0; i < 2; i++) process->stream[i] = job->stream[i];
  job->stream[0] = job->stream[1] = NULL;
  job->process = NULL;
  if (master >= 0) { /* a terminal's output comes from its master; the pipes carried the OCI runtime's own */
    for (int i = 0; i < 2; i++) stream_free(process->stream[i]);
    process->input = fcntl(master, F_DUPFD_CLOEXEC, 3);
    process->stream[0] = stream_open(master, "stdout", 0);
    process->stream[1] = NULL;
  }
  process_started(process, pid);
  job->started = true;
  job->status = 0;
  finish(job, pid);
  if (gone) process_ended(process, status);
}

/* Nothing was read of the streams: what the process wrote already is still in the pipes. */
static void hand_out(struct job *job, int master) {
  struct parcel parcel = {0};
  bool tty = master >= 0;
  struct shim_opened opened = {.input = tty || job->input >= 0};
  if (opened.input) parcel.fd[parcel.count++] = tty ? master : job->input;
  job->input = -1;
  for (int i = 0; i < 2; i++) {
    struct stream *stream = job->stream[i];
    if (!tty && !job->wanted[i]) { /* a process that nobody listens to does not die of it */
      stream->dropping = true;
      stream_release(stream);
      continue;
    }
    job->stream[i] = NULL;
    int fd = tty || stream_ended(stream) ? -1 : stream_take(stream);
    if (tty) stream_free(stream);
    if (fd < 0) continue;
    *(i ? &opened.stderr : &opened.stdout) = true;
    parcel.fd[parcel.count++] = fd;
  }
  struct wire_writer frame = wire_begin(SHIM_OPENED, job->request);
  shim_write_opened(&frame, &opened);
  send_parcel(job->client, &frame, parcel);
}

/* A child is one process's: named again, it would be reaped for one only, and the other signal whoever has the pid next. */
static bool taken(pid_t pid) {
  for (const struct job *job = jobs; job; job = job->next)
    if (pid == job->pid && job->phase != AWAITED) return true;
  return pid == sandbox_pid() || processes_have(pid);
}

/* What the OCI runtime made is our child now, or was and has ended. crun leaves a process between for a moment, which
   outlives the command: then the child comes to us when that one is reaped. */
static void adopt(struct job *job, pid_t pid) {
  int status = 0;
  int claim = orphan_claim(pid, &status);
  bool awaited = claim == -ECHILD && tree_child_above(pid);
  job->phase = awaited ? AWAITED : TARGET;
  job->pid = awaited ? pid : 0;
  if (awaited) return;
  if (claim == 0 && taken(pid)) claim = -EBUSY;
  if (claim < 0) return fail_untrue(job, claim, "adopt the process that the OCI runtime named in", job->pid_file);
  int master = job->console.name[0] ? console_take(&job->console) : -1;
  if (job->console.name[0] && master < 0) {
    if (!claim) tree_kill(pid);
    return fail_untrue(job, EPIPE, "take a terminal from", job->name);
  }
  if (job->kind == START) return hand_over(job, pid, master, claim, status);
  if (job->kind == OPEN) hand_out(job, master);
  job->started = true;
  if (claim) return end(job, status);
  job->pid = pid;
  if (job->deadline_ms) timer_arm(&job->deadline, job->deadline_ms, expire);
  else timer_stop(&job->deadline);
}

static void command_ended(struct job *job, int status) {
  int err = 0;
  job->ended_us = now_us();
  if (job->log.fd >= 0) log_ready(&job->log); /* what it said before its end */
  if (job->log_failure && !job->stop) return fail_log(job, job->log_failure);
  if (read(job->failure, &err, sizeof err) == sizeof err) return job_fail(job, err, "run", job->name);
  if (job->kind == RUN || status != 0 || job->stop) return end(job, status);
  pid_t pid = read_pid(job->pid_file);
  if (pid < 0) return fail_untrue(job, pid, "read a pid that the OCI runtime wrote to", job->pid_file);
  adopt(job, pid);
}

void jobs_adopt(void) {
  for (struct job *next, *job = jobs; job; job = next) {
    next = job->next;
    if (job->phase == AWAITED) adopt(job, job->pid);
  }
}

bool jobs_reaped(pid_t pid, int status) {
  for (struct job *job = jobs; job; job = job->next) {
    if (pid != job->pid || job->phase == AWAITED) continue;
    job->pid = 0;
    if (job->phase == COMMAND) command_ended(job, status);
    else end(job, status);
    return true;
  }
  return false;
}

struct job *job_new(uint64_t client, uint32_t request, enum kind kind, const char *pid_file) {
  if (kind != RUN && !*pid_file) {
    send_failed(client, request, SHIM_FAILED_INVALID, EINVAL, "run a command that has to name a pid file", "");
    return NULL;
  }
  struct job *job = running < MAX_JOBS ? calloc(1, sizeof *job) : NULL;
  if (job && *pid_file && !(job->pid_file = strdup(pid_file))) {
    free(job);
    job = NULL;
  }
  if (!job) {
    send_failed(client, request, SHIM_FAILED_BUSY, ENOMEM, "take on another command", "");
    return NULL;
  }
  job->client = client;
  job->request = request;
  job->kind = kind;
  job->failure = job->input = job->console.master = job->console.source.fd = job->console.peer.fd = job->log.fd = -1;
  job->next = jobs;
  jobs = job;
  running++;
  return job;
}

bool job_begin(struct job *job, struct spawn *spawn, size_t limit, uint32_t deadline_ms) {
  static const char *const names[] = {"stdout", "stderr"};
  int ends[2][2] = {{-1, -1}, {-1, -1}}, failed = spawn->stdio[0] < 0 ? spawn->stdio[0] : 0;
  if (spawn->argv.count) join(job->name, spawn->argv.first);
  for (int i = 0; i < 2 && !failed; i++) {
    failed = open_pipe(ends[i]);
    spawn->stdio[i + 1] = ends[i][1];
    if (failed) break;
    if (job->kind != RUN) sandbox_give(ends[i][1]);
    job->stream[i] = stream_open(ends[i][0], names[i], limit);
    if (!job->stream[i]) failed = -ENOMEM;
    else {
      job->stream[i]->closed = settle;
      job->stream[i]->owner = job;
      if (job->kind == OPEN || spawn->log) stream_hold(job->stream[i]); /* a log comes first */
    }
  }
  if (!failed) {
    job->begun_us = now_us();
    pid_t pid = spawn_command(spawn, &job->failure);
    if (pid < 0) failed = pid;
    else job->pid = pid;
  }
  close_held(&spawn->stdio[0]);
  if (spawn->log) close_held(&spawn->log_socket);
  close_held(&ends[0][1]);
  close_held(&ends[1][1]);
  if (failed) {
    job_fail(job, failed, "run", job->name);
    return false;
  }
  timer_arm(&job->deadline, deadline_ms, spawn->log ? log_late : expire);
  return true;
}

int job_open_log(struct job *job) {
  int ends[2], failed = open_sockets(ends);
  if (failed) return failed;
  if (!(failed = source_open(&job->log, ends[0], POLLIN, log_ready))) return ends[1];
  close(ends[0]);
  close(ends[1]);
  return failed;
}

bool job_cancel(uint64_t client, uint32_t request) {
  for (struct job *job = jobs; job; job = job->next) {
    if (job->client != client || job->request != request) continue;
    stop(job, CANCELLED);
    return true;
  }
  return false;
}

bool jobs_running(void) { return running > 0; }

void jobs_kill(void) {
  for (struct job *next, *job = jobs; job; job = next) {
    next = job->next;
    stop(job, CANCELLED);
  }
}
