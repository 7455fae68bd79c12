/* What each request of a client does. */
#include "request.h"

#include <errno.h>
#include <signal.h>
#include <unistd.h>

#include "attach.h"
#include "client.h"
#include "command.h"
#include "job.h"
#include "process.h"
#include "reopen.h"
#include "sandbox.h"
#include "shutdown.h"
#include "tree.h"

static void on_hello(uint64_t client, uint32_t request, const struct shim_hello *want) {
  (void)want; /* whichever version it is: fields are only ever appended */
  SEND(client, welcome, WELCOME, request, .version = SHIM_VERSION, .shim_pid = (uint32_t)getpid(),
       .pause_pid = (uint32_t)sandbox_pid(), .finds_logs = true);
}

static void on_sandbox(uint64_t client, uint32_t request, const struct shim_sandbox *want) {
  sandbox_start(client, request, want);
}

/* The process under this key, or an answer that says why not. */
static struct process *find(uint64_t client, uint32_t request, const char *key) {
  struct process *process = process_find(key);
  if (!process) send_failed(client, request, SHIM_FAILED_NOT_FOUND, ENOENT, "find the process", key);
  return process;
}

/* The same for one that runs. */
static struct process *find_running(uint64_t client, uint32_t request, const char *key, const char *step) {
  struct process *process = process_find(key);
  if (process && process->running) return process;
  enum shim_failure kind = process ? SHIM_FAILED_NOT_RUNNING : SHIM_FAILED_NOT_FOUND;
  send_failed(client, request, kind, process ? ESRCH : ENOENT, step, key);
  return NULL;
}

static void on_signal(uint64_t client, uint32_t request, const struct shim_signal *want) {
  struct process *process = find(client, request, want->key);
  if (!process) return;
  if (want->signo == 0 || want->signo >= NSIG || (!process->running && !process->ended)) {
    enum shim_failure kind = want->signo == 0 || want->signo >= NSIG ? SHIM_FAILED_INVALID : SHIM_FAILED_NOT_RUNNING;
    send_failed(client, request, kind, EINVAL, "signal", want->key);
    return;
  }
  int signo = (int)want->signo;
  bool delivered = false;
  /* It is our child: while it is not reaped its pid is nobody else's, and only reaping clears `running`. */
  if (process->running && signo == SIGKILL) oom_will_be_killed(&process->oom);
  if (process->running && want->all) {
    if (signo == SIGKILL) tree_kill(process->pid);
    else tree_signal(process->pid, signo);
    delivered = true;
  } else if (process->running) {
    delivered = kill(process->pid, signo) == 0;
  }
  SEND(client, signalled, SIGNALLED, request, .delivered = delivered);
}

static void on_reopen_log(uint64_t client, uint32_t request, const struct shim_reopen_log *want) {
  struct process *process = find(client, request, want->key);
  if (!process) return;
  if (!process->running) {
    send_failed(client, request, SHIM_FAILED_NOT_RUNNING, ESRCH, "reopen the log of", want->key);
    return;
  }
  if (!*process->log.path) return send_done(client, request);
  log_reopen(client, request, process, want->deadline_ms);
}

static void on_forget(uint64_t client, uint32_t request, const struct shim_forget *want) {
  struct process *process = process_find(want->key);
  if (process && !process->ended) {
    send_failed(client, request, SHIM_FAILED_BUSY, EBUSY, "forget the process: it still runs:", want->key);
    return;
  }
  if (process) process_free(process);
  send_done(client, request);
}

static void on_cancel(uint64_t client, uint32_t request, const struct shim_cancel *want) {
  job_cancel(client, want->request); /* one that has ended needs no cancelling */
  send_done(client, request);
}

static void on_shutdown(uint64_t client, uint32_t request, const struct shim_shutdown *want) {
  if (!shutdown_wanted(client, request, want->force))
    send_failed(client, request, SHIM_FAILED_BUSY, EBUSY, "shut down: processes still run", "");
}

static void on_run(uint64_t client, uint32_t request, const struct shim_run *want) {
  command_run(client, request, want);
}
static void on_start(uint64_t client, uint32_t request, const struct shim_start *want) {
  command_start(client, request, want);
}
static void on_open_exec(uint64_t client, uint32_t request, const struct shim_open_exec *want) {
  command_open_exec(client, request, want);
}
static void on_attach(uint64_t client, uint32_t request, const struct shim_attach *want) {
  struct process *process = find_running(client, request, want->key, "attach to");
  if (process) attach(client, request, process, want);
}
static void on_hold(uint64_t client, uint32_t request, const struct shim_hold *want) {
  static const char step[] = "hold the PID namespace of";
  if (!*want->key) return sandbox_hold(client, request);
  struct process *process = find_running(client, request, want->key, step);
  if (!process) return;
  int fd = process_namespace(process);
  if (fd < 0) return send_failed(client, request, SHIM_FAILED_SYSTEM, fd, step, want->key);
  SEND(client, held, HELD, request, .pid = (uint32_t)fd);
}
static void on_sysctls(uint64_t client, uint32_t request, const struct shim_sysctls *want) {
  sandbox_sysctls(client, request, want);
}
static void on_exec(uint64_t client, uint32_t request, const struct shim_exec *want) {
  command_exec(client, request, want);
}

static void on_list(uint64_t client, uint32_t request) {
  processes_list(client, request);
  SEND(client, listed, LISTED, request, .pause_pid = (uint32_t)sandbox_pid());
}

void request_handle(uint64_t client, uint16_t type, uint32_t request, struct wire_reader *from) {
#define ON(message, MESSAGE) \
  case SHIM_##MESSAGE: { \
    struct shim_##message want; \
    if (shim_read_##message(from, &want)) on_##message(client, request, &want); \
    else send_failed(client, request, SHIM_FAILED_INVALID, EBADMSG, "read the fields of", #message); \
    return; \
  }
  if (shutting_down() && type != SHIM_SHUTDOWN && type != SHIM_LIST) {
    send_failed(client, request, SHIM_FAILED_BUSY, ESHUTDOWN, "take a request: the shim is shutting down", "");
    return;
  }
  switch (type) {
    ON(hello, HELLO)
    ON(sandbox, SANDBOX)
    ON(run, RUN)
    ON(start, START)
    ON(exec, EXEC)
    ON(open_exec, OPEN_EXEC)
    ON(attach, ATTACH)
    ON(hold, HOLD)
    ON(sysctls, SYSCTLS)
    ON(signal, SIGNAL)
    ON(reopen_log, REOPEN_LOG)
    ON(forget, FORGET)
    ON(cancel, CANCEL)
    ON(shutdown, SHUTDOWN)
    case SHIM_LIST: return on_list(client, request);
    default:
      send_failed(client, request, SHIM_FAILED_UNSUPPORTED, ENOSYS, "handle a message that it does not know", "");
  }
#undef ON
}
