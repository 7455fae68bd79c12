/* Tracked processes: those that containers are. */
#include "process.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client.h"
#include "descriptor.h"
#include "stream.h"
#include "text.h"
#include "tree.h"

enum { MAX_PROCESSES = 4096, MAX_KEY = 128 };
static struct process *processes;

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

static void on_lost(struct log_file *log) { losses_grew(&container_of(log, struct process, log)->losses); }

static void on_kills_counted(struct oom *oom) {
  for (struct process *other = processes; other; other = other->next)
    if (&other->oom != oom) oom_others_counted(&other->oom);
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
  process->input = process->log.fd = process->oom.source.fd = process->pid_namespace = -1;
  process->log.lost = on_lost;
  process->losses.log = &process->log;
  process->oom.counted = on_kills_counted;
  process->tty = want->tty;
  process->next = processes;
  processes = process;
  process->key = strdup(want->key);
  process->losses.key = process->ending.key = process->key;
  process->oom.file = strdup(want->oom_file);
  process->ending.file = strdup(want->exit_file);
  process->log.path = strdup(want->log_path);
  process->log.folder = strdup(want->log_folder);
  process->log.name = strdup(want->log_name);
  if (!process->key || !process->oom.file || !process->ending.file || !process->log.path || !process->log.folder ||
      !process->log.name)
    *err = ENOMEM;
  if (!*err) oom_begin(&process->oom);
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
  for (int i = 0; i < 2; i++) {
    if (process->stream[i]) stream_drain(process->stream[i]); /* its last words may have come just now */
    stream_free(process->stream[i]);
  }
  losses_tell(&process->losses);
  close_held(&process->input);
  close_held(&process->pid_namespace);
  log_free(&process->log);
  oom_free(&process->oom);
  exit_free(&process->ending);
  free(process->key);
  free(process);
}

void process_started(struct process *process, pid_t pid) {
  process->pid = pid;
  process->running = process->losses.known = true;
  oom_watch(&process->oom);
  for (int i = 0; i < 2; i++) {
    if (!process->stream[i]) continue;
    process->stream[i]->closed = NULL;
    stream_to_log(process->stream[i], &process->log);
  }
  if (process->log.lost_bytes) losses_grew(&process->losses); /* before it had a pid */
}

void process_ended(struct process *process, int status) {
  struct ending *ending = &process->ending;
  clock_gettime(CLOCK_REALTIME, &ending->at);
  process->running = false;
  process->ended = true;
  ending->pid = process->pid;
  ending->status = status;
  for (int i = 0; i < 2; i++) stream_drain(process->stream[i]);
  ending->oom_killed = oom_ended(&process->oom, exit_code(status));
  exit_record(ending);
  losses_tell(&process->losses);
  exit_tell(ending);
}

int process_namespace(struct process *process) {
  /* It is our child, and only reaping clears `running`: its pid is nobody else's now. */
  if (process->pid_namespace < 0) process->pid_namespace = open_namespace(process->pid, "pid");
  return process->pid_namespace;
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
    const struct ending *ending = &process->ending;
    SEND(client, entry, ENTRY, request, .key = process->key, .ended = process->ended, .pid = (uint32_t)process->pid,
         .code = process->ended ? exit_code(ending->status) : 0, .signal = exit_signal(ending->status),
         .oom_killed = ending->oom_killed, .at_seconds = (uint64_t)ending->at.tv_sec,
         .at_nanos = (uint32_t)ending->at.tv_nsec, .lost_bytes = process->log.lost_bytes,
         .lost_lines = process->log.lost_lines, .lost_error = (uint32_t)process->log.lost_error);
  }
}
