/* Tracked processes: those that containers are. */
#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "client.h"
#include "descriptor.h"
#include "sandbox.h"
#include "stream.h"
#include "text.h"
#include "tree.h"

enum { MAX_PROCESSES = 4096, MAX_KEY = 128, RETRY_MS = 1000, TELL_MS = 1000 };
static struct process *processes;
static long kills_around(const struct process *process);

uint32_t exit_code(int status) {
  return WIFEXITED(status) ? (uint32_t)WEXITSTATUS(status) : 128 + exit_signal(status);
}

struct process *process_find(const char *key) {
  struct process *process = processes;
  while (process && strcmp(process->key, key) != 0) process = process->next;
  return process;
}

/* A key stands in the exit file as it is, so it holds nothing that JSON would escape. */
static bool good_key(const char *key) {
  static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.:-";
  size_t size = strlen(key);
  return size > 0 && size <= MAX_KEY && strspn(key, allowed) == size && strcmp(key, "pause") != 0;
}

/* Nobody is told of one that has no pid: should its OCI runtime fail, what is in its log is taken back. */
static void tell_lost(struct timer *timer) {
  struct process *process = container_of(timer, struct process, telling);
  const struct log_file *log = &process->log;
  timer_stop(timer);
  if (!process->pid || (log->lost_bytes == process->told_bytes && log->lost_lines == process->told_lines)) return;
  process->told_bytes = log->lost_bytes;
  process->told_lines = log->lost_lines;
  process->told_at = now_ms();
  SEND(EVERY_CLIENT, log_lost, LOG_LOST, 0, .key = process->key, .lost_bytes = log->lost_bytes,
       .lost_lines = log->lost_lines, .lost_error = (uint32_t)log->lost_error);
}

static void on_lost(struct log_file *log) {
  struct process *process = container_of(log, struct process, log);
  if (!process->pid || process->telling.at) return;
  uint64_t since = now_ms() - process->told_at;
  timer_arm(&process->telling, since < TELL_MS ? TELL_MS - since : 0, tell_lost);
}

struct process *process_new(const struct shim_start *want, int *err) {
  size_t count = 0;
  for (struct process *other = processes; other; other = other->next) count++;
  *err = !good_key(want->key) ? EINVAL : process_find(want->key) ? EEXIST : count >= MAX_PROCESSES ? EAGAIN : 0;
  struct process *process = *err ? NULL : calloc(1, sizeof *process);
  if (!process) {
    if (!*err) *err = ENOMEM;
    return NULL;
  }
  process->input = process->log.fd = process->oom.fd = process->pid_namespace = -1;
  process->log.lost = on_lost;
  process->tty = want->tty;
  process->next = processes;
  processes = process;
  process->key = strdup(want->key);
  process->oom_file = strdup(want->oom_file);
  process->exit_file = strdup(want->exit_file);
  process->log.path = strdup(want->log_path);
  process->log.folder = strdup(want->log_folder);
  process->log.name = strdup(want->log_name);
  if (!process->key || !process->oom_file || !process->exit_file || !process->log.path || !process->log.folder ||
      !process->log.name)
    *err = ENOMEM;
  if (!*err) process->kills_before = kills_around(process);
  if (!*err) return process;
  process_free(process);
  return NULL;
}

void process_free(struct process *process) {
  for (struct process **at = &processes; *at; at = &(*at)->next) {
    if (*at != process) continue;
    *at = process->next;
    break;
  }
  timer_stop(&process->retry);
  source_close(&process->oom);
  for (int i = 0; i < 2; i++) {
    if (process->stream[i]) stream_drain(process->stream[i]); /* its last words may have come just now */
    stream_free(process->stream[i]);
  }
  tell_lost(&process->telling);
  close_held(&process->input);
  close_held(&process->pid_namespace);
  log_free(&process->log);
  free(process->key);
  free(process->oom_file);
  free(process->exit_file);
  free(process);
}

/* memory.events and memory.oom_control both say `oom_kill <count>` on a line of its own. -1: the cgroup is gone. */
static long kills_in(int fd, const char *path) {
  char text[1024] = "\n";
  ssize_t size = fd >= 0 ? pread(fd, text + 1, sizeof text - 2, 0) : read_file(path, text + 1, sizeof text - 1);
  if (size < 0) return -1;
  text[size + 1] = 0;
  const char *line = strstr(text, "\noom_kill ");
  return line ? strtol(line + 10, NULL, 10) : 0;
}

/* What the pod's cgroup counts, on cgroup v2: all below it, also in cgroups that systemd removed before we could look. */
static long kills_around(const struct process *process) {
  char path[4096], folder[4096];
  const char *name = strrchr(process->oom_file, '/');
  if (!name || strcmp(name, "/memory.events") || !join(folder, process->oom_file, "")) return 0;
  for (int up = 0; up < 2; up++) {
    char *slash = strrchr(folder, '/');
    if (!slash) return 0;
    *slash = 0;
  }
  return join(path, folder, name) ? kills_in(-1, path) : 0;
}

/* Kills while a container's own cgroup counts none were others'. */
static void others_are_not_meant(const struct process *killed) {
  for (struct process *other = processes; other; other = other->next)
    if (other != killed && other->oom.fd >= 0 && kills_in(other->oom.fd, "") == 0)
      other->kills_before = kills_around(other);
}

/* cgroup v2 announces each change of memory.events. Waiting for the exit would be too late where systemd removes an
   emptied cgroup on its own. The file of a removed one is ready for ever and cannot be read. */
static void oom_changed(struct source *source) {
  struct process *process = container_of(source, struct process, oom);
  long kills = kills_in(source->fd, "");
  if (kills > 0) process->oom_kills = kills;
  if (kills > 0) others_are_not_meant(process);
  if (kills < 0) source_close(source);
}

static void watch_oom(struct process *process) {
  int fd = *process->oom_file ? open(process->oom_file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK) : -1;
  if (fd >= 0 && source_open(&process->oom, fd, POLLPRI, oom_changed)) close(fd);
}

void process_started(struct process *process, pid_t pid) {
  process->pid = pid;
  process->running = true;
  watch_oom(process);
  for (int i = 0; i < 2; i++) {
    if (!process->stream[i]) continue;
    process->stream[i]->closed = NULL;
    stream_to_log(process->stream[i], &process->log);
  }
  if (process->log.lost_bytes) on_lost(&process->log); /* before it had a pid */
}

/* Temporary file and rename: a reader sees the whole record or none. */
static int write_exit_file(const struct process *process) {
  char text[512], temporary[4096], pid[24], code[24], signo[24], second[24], nano[24];
  if (!*process->exit_file) return 0;
  join(text, "{\"v\":1,\"key\":\"", process->key, "\",\"pid\":", decimal(pid, (uint64_t)process->pid, 1),
       ",\"code\":", decimal(code, exit_code(process->status), 1),
       ",\"signal\":", decimal(signo, exit_signal(process->status), 1),
       ",\"oomKilled\":", process->oom_killed ? "true" : "false", ",\"at\":\"",
       decimal(second, (uint64_t)process->at.tv_sec, 1), ".", decimal(nano, (uint64_t)process->at.tv_nsec, 9), "\"}\n");
  if (!join(temporary, process->exit_file, ".tmp")) return -ENAMETOOLONG;
  int failed = write_file(temporary, O_CREAT | O_TRUNC, text, strlen(text));
  if (!failed && rename(temporary, process->exit_file) < 0) failed = -errno;
  if (failed) unlink(temporary);
  return failed;
}

static void record_exit(struct timer *timer) {
  struct process *process = container_of(timer, struct process, retry);
  int failed = write_exit_file(process);
  if (!failed) return;
  complain("cannot write the exit file", process->exit_file, -failed);
  timer_arm(timer, RETRY_MS, record_exit);
}

/* Only if its own end was the kill: a container may outlive the kill of a child, and end as it likes or as we tell it to. */
static bool was_oom_killed(const struct process *process) {
  if (exit_code(process->status) != 128 + SIGKILL) return false;
  long kills = kills_in(process->oom.fd, process->oom_file);
  if (kills < 0 && process->oom_kills == 0) return kills_around(process) > process->kills_before;
  if (kills < process->oom_kills) kills = process->oom_kills;
  return kills > process->kills_when_killed;
}

void process_will_be_killed(struct process *process) {
  long kills = kills_in(process->oom.fd, process->oom_file);
  process->kills_when_killed = kills > 0 ? kills : 0;
}

void process_ended(struct process *process, int status) {
  clock_gettime(CLOCK_REALTIME, &process->at);
  process->running = false;
  process->ended = true;
  process->status = status;
  for (int i = 0; i < 2; i++) stream_drain(process->stream[i]);
  process->oom_killed = was_oom_killed(process);
  if (process->oom_killed) others_are_not_meant(process);
  source_close(&process->oom);
  record_exit(&process->retry);
  tell_lost(&process->telling);
  SEND(EVERY_CLIENT, exit, EXIT, 0, .key = process->key, .pid = (uint32_t)process->pid, .code = exit_code(status),
       .signal = exit_signal(status), .oom_killed = process->oom_killed, .at_seconds = (uint64_t)process->at.tv_sec,
       .at_nanos = (uint32_t)process->at.tv_nsec);
}

static void add(struct parcel *parcel, bool *given, int fd) {
  *given = fd >= 0;
  if (*given) parcel->fd[parcel->count++] = fd;
}

void process_attach(uint64_t client, uint32_t request, const struct shim_attach *want) {
  struct process *process = process_find(want->key);
  if (!process || !process->running) {
    enum shim_failure kind = process ? SHIM_FAILED_NOT_RUNNING : SHIM_FAILED_NOT_FOUND;
    return send_failed(client, request, kind, process ? ESRCH : ENOENT, "attach to", want->key);
  }
  struct parcel parcel = {0};
  struct shim_opened opened = {0};
  if (process->tty || want->stdin) add(&parcel, &opened.input, fcntl(process->input, F_DUPFD_CLOEXEC, 3));
  if (want->once && want->stdin && !process->tty) { /* the client's is the last: the process sees its end */
    close_held(&process->input);
    process->input = -1;
  }
  if (want->stdout && !stream_ended(process->stream[0])) add(&parcel, &opened.stdout, tap_open(&process->stream[0]->taps));
  if (want->stderr && !stream_ended(process->stream[1])) add(&parcel, &opened.stderr, tap_open(&process->stream[1]->taps));
  struct wire_writer frame = wire_begin(SHIM_OPENED, request);
  shim_write_opened(&frame, &opened);
  send_parcel(client, &frame, parcel);
}

void process_hold(uint64_t client, uint32_t request, const char *key) {
  struct process *process = process_find(key);
  if (!process || !process->running) {
    enum shim_failure kind = process ? SHIM_FAILED_NOT_RUNNING : SHIM_FAILED_NOT_FOUND;
    return send_failed(client, request, kind, process ? ESRCH : ENOENT, "hold the PID namespace of", key);
  }
  /* It is our child, and only reaping clears `running`: its pid is nobody else's now. */
  if (process->pid_namespace < 0) process->pid_namespace = open_namespace(process->pid, "pid");
  int fd = process->pid_namespace;
  if (fd < 0) return send_failed(client, request, SHIM_FAILED_SYSTEM, fd, "hold the PID namespace of", key);
  SEND(client, held, HELD, request, .pid = (uint32_t)fd);
}

bool processes_reaped(pid_t pid, int status) {
  for (struct process *process = processes; process; process = process->next) {
    if (!process->running || process->pid != pid) continue;
    process_ended(process, status);
    return true;
  }
  return false;
}

bool processes_have(pid_t pid) {
  for (const struct process *process = processes; process; process = process->next)
    if (process->running && process->pid == pid) return true;
  return false;
}

void processes_forget(void) {
  while (processes) process_free(processes);
}

bool processes_running(void) {
  for (struct process *process = processes; process; process = process->next)
    if (process->running) return true;
  return false;
}

void processes_kill(void) {
  for (struct process *process = processes; process; process = process->next)
    if (process->running) tree_kill(process->pid);
}

/* One with pid 0 that has not ended: its OCI runtime is still at work. */
void processes_list(uint64_t client, uint32_t request) {
  for (struct process *process = processes; process; process = process->next) {
    SEND(client, entry, ENTRY, request, .key = process->key, .ended = process->ended, .pid = (uint32_t)process->pid,
         .code = process->ended ? exit_code(process->status) : 0, .signal = exit_signal(process->status),
         .oom_killed = process->oom_killed, .at_seconds = (uint64_t)process->at.tv_sec,
         .at_nanos = (uint32_t)process->at.tv_nsec, .lost_bytes = process->log.lost_bytes,
         .lost_lines = process->log.lost_lines, .lost_error = (uint32_t)process->log.lost_error);
  }
  SEND(client, listed, LISTED, request, .pause_pid = (uint32_t)sandbox_pid());
}
