/* Printed by scripts/gen-shim-header.ts from proto/shim.ts: change the table, not this file. */
#ifndef BERTH_PROTOCOL_H
#define BERTH_PROTOCOL_H
#include "wire.h"

#define SHIM_VERSION 1
#define SHIM_MAX_TO_SHIM 4194304
#define SHIM_MAX_TO_DAEMON 41943040
#define SHIM_MAX_CAPTURE 16777216
#define SHIM_MAX_LOG_LINE 16384

enum shim_message {
  SHIM_HELLO = 1,
  SHIM_SANDBOX = 2,
  SHIM_RUN = 4,
  SHIM_START = 5,
  SHIM_EXEC = 6,
  SHIM_SIGNAL = 7,
  SHIM_REOPEN_LOG = 8,
  SHIM_LIST = 9,
  SHIM_FORGET = 10,
  SHIM_CANCEL = 11,
  SHIM_SHUTDOWN = 12,
  SHIM_OPEN_EXEC = 13,
  SHIM_ATTACH = 14,
  SHIM_HOLD = 15,
  SHIM_SYSCTLS = 16,
  SHIM_DONE = 64,
  SHIM_FAILED = 65,
  SHIM_WELCOME = 66,
  SHIM_SANDBOXED = 67,
  SHIM_RESULT = 68,
  SHIM_SIGNALLED = 69,
  SHIM_ENTRY = 70,
  SHIM_LISTED = 71,
  SHIM_OPENED = 72,
  SHIM_HELD = 73,
  SHIM_EXIT = 128,
  SHIM_PAUSE_EXIT = 129,
  SHIM_LOG_LOST = 130,
  SHIM_LOOK_RESOLVE = 192,
  SHIM_LOOK_LINK = 193,
  SHIM_LOOK_STAT = 194,
  SHIM_LOOK_FILE_SYSTEM = 195,
  SHIM_LOOK_LIST = 196,
  SHIM_LOOK_READ = 197,
  SHIM_LOOK_MAKE_PATH = 198,
  SHIM_LOOK_MAKE_BELOW = 199,
  SHIM_LOOK_LABEL = 200,
  SHIM_LOOK_BIND = 201,
  SHIM_LOOK_PATH = 224,
  SHIM_LOOK_FACTS = 225,
  SHIM_LOOK_TYPE = 226,
  SHIM_LOOK_NAMES = 227,
  SHIM_LOOK_BYTES = 228,
  SHIM_LOOK_GOES_ON = 229,
};

enum shim_failure {
  SHIM_FAILED_SYSTEM = 1,
  SHIM_FAILED_INVALID = 2,
  SHIM_FAILED_NOT_FOUND = 3,
  SHIM_FAILED_EXISTS = 4,
  SHIM_FAILED_NOT_RUNNING = 5,
  SHIM_FAILED_BUSY = 6,
  SHIM_FAILED_UNSUPPORTED = 7,
  SHIM_FAILED_UNTRUE = 8,
};

/* Every message that has fields: X(lower, UPPER). */
#define SHIM_MESSAGES(X) \
  X(hello, HELLO) \
  X(sandbox, SANDBOX) \
  X(run, RUN) \
  X(start, START) \
  X(exec, EXEC) \
  X(signal, SIGNAL) \
  X(reopen_log, REOPEN_LOG) \
  X(forget, FORGET) \
  X(cancel, CANCEL) \
  X(shutdown, SHUTDOWN) \
  X(open_exec, OPEN_EXEC) \
  X(attach, ATTACH) \
  X(hold, HOLD) \
  X(sysctls, SYSCTLS) \
  X(failed, FAILED) \
  X(welcome, WELCOME) \
  X(sandboxed, SANDBOXED) \
  X(result, RESULT) \
  X(signalled, SIGNALLED) \
  X(entry, ENTRY) \
  X(listed, LISTED) \
  X(opened, OPENED) \
  X(held, HELD) \
  X(exit, EXIT) \
  X(pause_exit, PAUSE_EXIT) \
  X(log_lost, LOG_LOST) \
  X(look_resolve, LOOK_RESOLVE) \
  X(look_link, LOOK_LINK) \
  X(look_stat, LOOK_STAT) \
  X(look_file_system, LOOK_FILE_SYSTEM) \
  X(look_list, LOOK_LIST) \
  X(look_read, LOOK_READ) \
  X(look_make_path, LOOK_MAKE_PATH) \
  X(look_make_below, LOOK_MAKE_BELOW) \
  X(look_label, LOOK_LABEL) \
  X(look_bind, LOOK_BIND) \
  X(look_path, LOOK_PATH) \
  X(look_facts, LOOK_FACTS) \
  X(look_type, LOOK_TYPE) \
  X(look_names, LOOK_NAMES) \
  X(look_bytes, LOOK_BYTES)

struct shim_hello {
  uint32_t version;
};
static inline bool shim_read_hello(struct wire_reader *from, struct shim_hello *to) {
  to->version = wire_read_u32(from);
  return !from->bad;
}
static inline void shim_write_hello(struct wire_writer *to, const struct shim_hello *from) {
  wire_write_u32(to, from->version);
}

struct shim_sandbox {
  bool network;
  bool pid;
  bool ipc;
  bool uts;
  const char *hostname;
  const char *netns_path;
  struct wire_strings sysctls;
  struct wire_strings cgroup_tasks;
  bool adjust_oom;
  int32_t oom_score_adj;
  const char *uid_map;
  const char *gid_map;
  const char *cgroup_folder;
};
static inline bool shim_read_sandbox(struct wire_reader *from, struct shim_sandbox *to) {
  to->network = wire_read_bool(from);
  to->pid = wire_read_bool(from);
  to->ipc = wire_read_bool(from);
  to->uts = wire_read_bool(from);
  to->hostname = wire_read_string(from);
  to->netns_path = wire_read_string(from);
  to->sysctls = wire_read_strings(from);
  to->cgroup_tasks = wire_read_strings(from);
  to->adjust_oom = wire_read_bool(from);
  to->oom_score_adj = wire_read_i32(from);
  to->uid_map = wire_read_string(from);
  to->gid_map = wire_read_string(from);
  to->cgroup_folder = wire_read_string(from);
  return !from->bad;
}
static inline void shim_write_sandbox(struct wire_writer *to, const struct shim_sandbox *from) {
  wire_write_bool(to, from->network);
  wire_write_bool(to, from->pid);
  wire_write_bool(to, from->ipc);
  wire_write_bool(to, from->uts);
  wire_write_string(to, from->hostname);
  wire_write_string(to, from->netns_path);
  wire_write_strings(to, from->sysctls);
  wire_write_strings(to, from->cgroup_tasks);
  wire_write_bool(to, from->adjust_oom);
  wire_write_i32(to, from->oom_score_adj);
  wire_write_string(to, from->uid_map);
  wire_write_string(to, from->gid_map);
  wire_write_string(to, from->cgroup_folder);
}

struct shim_run {
  struct wire_strings argv;
  struct wire_strings env;
  const char *cwd;
  struct wire_bytes stdin;
  uint32_t deadline_ms;
  uint32_t drain_ms;
  uint32_t max_output;
};
static inline bool shim_read_run(struct wire_reader *from, struct shim_run *to) {
  to->argv = wire_read_strings(from);
  to->env = wire_read_strings(from);
  to->cwd = wire_read_string(from);
  to->stdin = wire_read_bytes(from);
  to->deadline_ms = wire_read_u32(from);
  to->drain_ms = wire_read_u32(from);
  to->max_output = wire_read_u32(from);
  return !from->bad;
}
static inline void shim_write_run(struct wire_writer *to, const struct shim_run *from) {
  wire_write_strings(to, from->argv);
  wire_write_strings(to, from->env);
  wire_write_string(to, from->cwd);
  wire_write_bytes(to, from->stdin);
  wire_write_u32(to, from->deadline_ms);
  wire_write_u32(to, from->drain_ms);
  wire_write_u32(to, from->max_output);
}

struct shim_start {
  const char *key;
  struct wire_strings argv;
  struct wire_strings env;
  const char *cwd;
  uint32_t deadline_ms;
  uint32_t drain_ms;
  const char *pid_file;
  bool stdin;
  bool tty;
  const char *log_path;
  const char *oom_file;
  const char *exit_file;
  const char *log_folder;
  const char *log_name;
  uint32_t log_deadline_ms;
};
static inline bool shim_read_start(struct wire_reader *from, struct shim_start *to) {
  to->key = wire_read_string(from);
  to->argv = wire_read_strings(from);
  to->env = wire_read_strings(from);
  to->cwd = wire_read_string(from);
  to->deadline_ms = wire_read_u32(from);
  to->drain_ms = wire_read_u32(from);
  to->pid_file = wire_read_string(from);
  to->stdin = wire_read_bool(from);
  to->tty = wire_read_bool(from);
  to->log_path = wire_read_string(from);
  to->oom_file = wire_read_string(from);
  to->exit_file = wire_read_string(from);
  to->log_folder = wire_read_string(from);
  to->log_name = wire_read_string(from);
  to->log_deadline_ms = wire_read_u32(from);
  return !from->bad;
}
static inline void shim_write_start(struct wire_writer *to, const struct shim_start *from) {
  wire_write_string(to, from->key);
  wire_write_strings(to, from->argv);
  wire_write_strings(to, from->env);
  wire_write_string(to, from->cwd);
  wire_write_u32(to, from->deadline_ms);
  wire_write_u32(to, from->drain_ms);
  wire_write_string(to, from->pid_file);
  wire_write_bool(to, from->stdin);
  wire_write_bool(to, from->tty);
  wire_write_string(to, from->log_path);
  wire_write_string(to, from->oom_file);
  wire_write_string(to, from->exit_file);
  wire_write_string(to, from->log_folder);
  wire_write_string(to, from->log_name);
  wire_write_u32(to, from->log_deadline_ms);
}

struct shim_exec {
  struct wire_strings argv;
  struct wire_strings env;
  const char *cwd;
  const char *pid_file;
  uint32_t start_deadline_ms;
  uint32_t deadline_ms;
  uint32_t drain_ms;
  uint32_t max_output;
  bool adjust_oom;
  int32_t oom_score_adj;
};
static inline bool shim_read_exec(struct wire_reader *from, struct shim_exec *to) {
  to->argv = wire_read_strings(from);
  to->env = wire_read_strings(from);
  to->cwd = wire_read_string(from);
  to->pid_file = wire_read_string(from);
  to->start_deadline_ms = wire_read_u32(from);
  to->deadline_ms = wire_read_u32(from);
  to->drain_ms = wire_read_u32(from);
  to->max_output = wire_read_u32(from);
  to->adjust_oom = wire_read_bool(from);
  to->oom_score_adj = wire_read_i32(from);
  return !from->bad;
}
static inline void shim_write_exec(struct wire_writer *to, const struct shim_exec *from) {
  wire_write_strings(to, from->argv);
  wire_write_strings(to, from->env);
  wire_write_string(to, from->cwd);
  wire_write_string(to, from->pid_file);
  wire_write_u32(to, from->start_deadline_ms);
  wire_write_u32(to, from->deadline_ms);
  wire_write_u32(to, from->drain_ms);
  wire_write_u32(to, from->max_output);
  wire_write_bool(to, from->adjust_oom);
  wire_write_i32(to, from->oom_score_adj);
}

struct shim_signal {
  const char *key;
  uint32_t signo;
  bool all;
};
static inline bool shim_read_signal(struct wire_reader *from, struct shim_signal *to) {
  to->key = wire_read_string(from);
  to->signo = wire_read_u32(from);
  to->all = wire_read_bool(from);
  return !from->bad;
}
static inline void shim_write_signal(struct wire_writer *to, const struct shim_signal *from) {
  wire_write_string(to, from->key);
  wire_write_u32(to, from->signo);
  wire_write_bool(to, from->all);
}

struct shim_reopen_log {
  const char *key;
  uint32_t deadline_ms;
};
static inline bool shim_read_reopen_log(struct wire_reader *from, struct shim_reopen_log *to) {
  to->key = wire_read_string(from);
  to->deadline_ms = wire_read_u32(from);
  return !from->bad;
}
static inline void shim_write_reopen_log(struct wire_writer *to, const struct shim_reopen_log *from) {
  wire_write_string(to, from->key);
  wire_write_u32(to, from->deadline_ms);
}

struct shim_forget {
  const char *key;
};
static inline bool shim_read_forget(struct wire_reader *from, struct shim_forget *to) {
  to->key = wire_read_string(from);
  return !from->bad;
}
static inline void shim_write_forget(struct wire_writer *to, const struct shim_forget *from) {
  wire_write_string(to, from->key);
}

struct shim_cancel {
  uint32_t request;
};
static inline bool shim_read_cancel(struct wire_reader *from, struct shim_cancel *to) {
  to->request = wire_read_u32(from);
  return !from->bad;
}
static inline void shim_write_cancel(struct wire_writer *to, const struct shim_cancel *from) {
  wire_write_u32(to, from->request);
}

struct shim_shutdown {
  bool force;
};
static inline bool shim_read_shutdown(struct wire_reader *from, struct shim_shutdown *to) {
  to->force = wire_read_bool(from);
  return !from->bad;
}
static inline void shim_write_shutdown(struct wire_writer *to, const struct shim_shutdown *from) {
  wire_write_bool(to, from->force);
}

struct shim_open_exec {
  struct wire_strings argv;
  struct wire_strings env;
  const char *cwd;
  const char *pid_file;
  uint32_t start_deadline_ms;
  bool tty;
  bool stdin;
  bool stdout;
  bool stderr;
  bool adjust_oom;
  int32_t oom_score_adj;
};
static inline bool shim_read_open_exec(struct wire_reader *from, struct shim_open_exec *to) {
  to->argv = wire_read_strings(from);
  to->env = wire_read_strings(from);
  to->cwd = wire_read_string(from);
  to->pid_file = wire_read_string(from);
  to->start_deadline_ms = wire_read_u32(from);
  to->tty = wire_read_bool(from);
  to->stdin = wire_read_bool(from);
  to->stdout = wire_read_bool(from);
  to->stderr = wire_read_bool(from);
  to->adjust_oom = wire_read_bool(from);
  to->oom_score_adj = wire_read_i32(from);
  return !from->bad;
}
static inline void shim_write_open_exec(struct wire_writer *to, const struct shim_open_exec *from) {
  wire_write_strings(to, from->argv);
  wire_write_strings(to, from->env);
  wire_write_string(to, from->cwd);
  wire_write_string(to, from->pid_file);
  wire_write_u32(to, from->start_deadline_ms);
  wire_write_bool(to, from->tty);
  wire_write_bool(to, from->stdin);
  wire_write_bool(to, from->stdout);
  wire_write_bool(to, from->stderr);
  wire_write_bool(to, from->adjust_oom);
  wire_write_i32(to, from->oom_score_adj);
}

struct shim_attach {
  const char *key;
  bool stdin;
  bool stdout;
  bool stderr;
  bool once;
};
static inline bool shim_read_attach(struct wire_reader *from, struct shim_attach *to) {
  to->key = wire_read_string(from);
  to->stdin = wire_read_bool(from);
  to->stdout = wire_read_bool(from);
  to->stderr = wire_read_bool(from);
  to->once = wire_read_bool(from);
  return !from->bad;
}
static inline void shim_write_attach(struct wire_writer *to, const struct shim_attach *from) {
  wire_write_string(to, from->key);
  wire_write_bool(to, from->stdin);
  wire_write_bool(to, from->stdout);
  wire_write_bool(to, from->stderr);
  wire_write_bool(to, from->once);
}

struct shim_hold {
  const char *key;
};
static inline bool shim_read_hold(struct wire_reader *from, struct shim_hold *to) {
  to->key = wire_read_string(from);
  return !from->bad;
}
static inline void shim_write_hold(struct wire_writer *to, const struct shim_hold *from) {
  wire_write_string(to, from->key);
}

struct shim_sysctls {
  struct wire_strings settings;
};
static inline bool shim_read_sysctls(struct wire_reader *from, struct shim_sysctls *to) {
  to->settings = wire_read_strings(from);
  return !from->bad;
}
static inline void shim_write_sysctls(struct wire_writer *to, const struct shim_sysctls *from) {
  wire_write_strings(to, from->settings);
}

struct shim_failed {
  uint32_t kind;
  uint32_t error;
  const char *step;
};
static inline bool shim_read_failed(struct wire_reader *from, struct shim_failed *to) {
  to->kind = wire_read_u32(from);
  to->error = wire_read_u32(from);
  to->step = wire_read_string(from);
  return !from->bad;
}
static inline void shim_write_failed(struct wire_writer *to, const struct shim_failed *from) {
  wire_write_u32(to, from->kind);
  wire_write_u32(to, from->error);
  wire_write_string(to, from->step);
}

struct shim_welcome {
  uint32_t version;
  uint32_t shim_pid;
  uint32_t pause_pid;
  bool finds_logs;
};
static inline bool shim_read_welcome(struct wire_reader *from, struct shim_welcome *to) {
  to->version = wire_read_u32(from);
  to->shim_pid = wire_read_u32(from);
  to->pause_pid = wire_read_u32(from);
  to->finds_logs = wire_read_bool(from);
  return !from->bad;
}
static inline void shim_write_welcome(struct wire_writer *to, const struct shim_welcome *from) {
  wire_write_u32(to, from->version);
  wire_write_u32(to, from->shim_pid);
  wire_write_u32(to, from->pause_pid);
  wire_write_bool(to, from->finds_logs);
}

struct shim_sandboxed {
  uint32_t pause_pid;
  bool oom_clamped;
  uint64_t begun_us;
  uint64_t ended_us;
};
static inline bool shim_read_sandboxed(struct wire_reader *from, struct shim_sandboxed *to) {
  to->pause_pid = wire_read_u32(from);
  to->oom_clamped = wire_read_bool(from);
  to->begun_us = wire_read_u64(from);
  to->ended_us = wire_read_u64(from);
  return !from->bad;
}
static inline void shim_write_sandboxed(struct wire_writer *to, const struct shim_sandboxed *from) {
  wire_write_u32(to, from->pause_pid);
  wire_write_bool(to, from->oom_clamped);
  wire_write_u64(to, from->begun_us);
  wire_write_u64(to, from->ended_us);
}

struct shim_result {
  uint32_t pid;
  bool started;
  uint32_t code;
  uint32_t signal;
  bool timed_out;
  bool stdout_truncated;
  bool stderr_truncated;
  struct wire_bytes stdout;
  struct wire_bytes stderr;
  uint64_t begun_us;
  uint64_t ended_us;
};
static inline bool shim_read_result(struct wire_reader *from, struct shim_result *to) {
  to->pid = wire_read_u32(from);
  to->started = wire_read_bool(from);
  to->code = wire_read_u32(from);
  to->signal = wire_read_u32(from);
  to->timed_out = wire_read_bool(from);
  to->stdout_truncated = wire_read_bool(from);
  to->stderr_truncated = wire_read_bool(from);
  to->stdout = wire_read_bytes(from);
  to->stderr = wire_read_bytes(from);
  to->begun_us = wire_read_u64(from);
  to->ended_us = wire_read_u64(from);
  return !from->bad;
}
static inline void shim_write_result(struct wire_writer *to, const struct shim_result *from) {
  wire_write_u32(to, from->pid);
  wire_write_bool(to, from->started);
  wire_write_u32(to, from->code);
  wire_write_u32(to, from->signal);
  wire_write_bool(to, from->timed_out);
  wire_write_bool(to, from->stdout_truncated);
  wire_write_bool(to, from->stderr_truncated);
  wire_write_bytes(to, from->stdout);
  wire_write_bytes(to, from->stderr);
  wire_write_u64(to, from->begun_us);
  wire_write_u64(to, from->ended_us);
}

struct shim_signalled {
  bool delivered;
};
static inline bool shim_read_signalled(struct wire_reader *from, struct shim_signalled *to) {
  to->delivered = wire_read_bool(from);
  return !from->bad;
}
static inline void shim_write_signalled(struct wire_writer *to, const struct shim_signalled *from) {
  wire_write_bool(to, from->delivered);
}

struct shim_entry {
  const char *key;
  bool ended;
  uint32_t pid;
  uint32_t code;
  uint32_t signal;
  bool oom_killed;
  uint64_t at_seconds;
  uint32_t at_nanos;
  uint64_t lost_bytes;
  uint64_t lost_lines;
  uint32_t lost_error;
};
static inline bool shim_read_entry(struct wire_reader *from, struct shim_entry *to) {
  to->key = wire_read_string(from);
  to->ended = wire_read_bool(from);
  to->pid = wire_read_u32(from);
  to->code = wire_read_u32(from);
  to->signal = wire_read_u32(from);
  to->oom_killed = wire_read_bool(from);
  to->at_seconds = wire_read_u64(from);
  to->at_nanos = wire_read_u32(from);
  to->lost_bytes = wire_read_u64(from);
  to->lost_lines = wire_read_u64(from);
  to->lost_error = wire_read_u32(from);
  return !from->bad;
}
static inline void shim_write_entry(struct wire_writer *to, const struct shim_entry *from) {
  wire_write_string(to, from->key);
  wire_write_bool(to, from->ended);
  wire_write_u32(to, from->pid);
  wire_write_u32(to, from->code);
  wire_write_u32(to, from->signal);
  wire_write_bool(to, from->oom_killed);
  wire_write_u64(to, from->at_seconds);
  wire_write_u32(to, from->at_nanos);
  wire_write_u64(to, from->lost_bytes);
  wire_write_u64(to, from->lost_lines);
  wire_write_u32(to, from->lost_error);
}

struct shim_listed {
  uint32_t pause_pid;
};
static inline bool shim_read_listed(struct wire_reader *from, struct shim_listed *to) {
  to->pause_pid = wire_read_u32(from);
  return !from->bad;
}
static inline void shim_write_listed(struct wire_writer *to, const struct shim_listed *from) {
  wire_write_u32(to, from->pause_pid);
}

struct shim_opened {
  bool input;
  bool stdout;
  bool stderr;
};
static inline bool shim_read_opened(struct wire_reader *from, struct shim_opened *to) {
  to->input = wire_read_bool(from);
  to->stdout = wire_read_bool(from);
  to->stderr = wire_read_bool(from);
  return !from->bad;
}
static inline void shim_write_opened(struct wire_writer *to, const struct shim_opened *from) {
  wire_write_bool(to, from->input);
  wire_write_bool(to, from->stdout);
  wire_write_bool(to, from->stderr);
}

struct shim_held {
  uint32_t uts;
  uint32_t ipc;
  uint32_t pid;
  uint32_t user;
};
static inline bool shim_read_held(struct wire_reader *from, struct shim_held *to) {
  to->uts = wire_read_u32(from);
  to->ipc = wire_read_u32(from);
  to->pid = wire_read_u32(from);
  to->user = wire_read_u32(from);
  return !from->bad;
}
static inline void shim_write_held(struct wire_writer *to, const struct shim_held *from) {
  wire_write_u32(to, from->uts);
  wire_write_u32(to, from->ipc);
  wire_write_u32(to, from->pid);
  wire_write_u32(to, from->user);
}

struct shim_exit {
  const char *key;
  uint32_t pid;
  uint32_t code;
  uint32_t signal;
  bool oom_killed;
  uint64_t at_seconds;
  uint32_t at_nanos;
};
static inline bool shim_read_exit(struct wire_reader *from, struct shim_exit *to) {
  to->key = wire_read_string(from);
  to->pid = wire_read_u32(from);
  to->code = wire_read_u32(from);
  to->signal = wire_read_u32(from);
  to->oom_killed = wire_read_bool(from);
  to->at_seconds = wire_read_u64(from);
  to->at_nanos = wire_read_u32(from);
  return !from->bad;
}
static inline void shim_write_exit(struct wire_writer *to, const struct shim_exit *from) {
  wire_write_string(to, from->key);
  wire_write_u32(to, from->pid);
  wire_write_u32(to, from->code);
  wire_write_u32(to, from->signal);
  wire_write_bool(to, from->oom_killed);
  wire_write_u64(to, from->at_seconds);
  wire_write_u32(to, from->at_nanos);
}

struct shim_pause_exit {
  uint32_t pid;
};
static inline bool shim_read_pause_exit(struct wire_reader *from, struct shim_pause_exit *to) {
  to->pid = wire_read_u32(from);
  return !from->bad;
}
static inline void shim_write_pause_exit(struct wire_writer *to, const struct shim_pause_exit *from) {
  wire_write_u32(to, from->pid);
}

struct shim_log_lost {
  const char *key;
  uint64_t lost_bytes;
  uint64_t lost_lines;
  uint32_t lost_error;
};
static inline bool shim_read_log_lost(struct wire_reader *from, struct shim_log_lost *to) {
  to->key = wire_read_string(from);
  to->lost_bytes = wire_read_u64(from);
  to->lost_lines = wire_read_u64(from);
  to->lost_error = wire_read_u32(from);
  return !from->bad;
}
static inline void shim_write_log_lost(struct wire_writer *to, const struct shim_log_lost *from) {
  wire_write_string(to, from->key);
  wire_write_u64(to, from->lost_bytes);
  wire_write_u64(to, from->lost_lines);
  wire_write_u32(to, from->lost_error);
}

struct shim_look_resolve {
  const char *path;
};
static inline bool shim_read_look_resolve(struct wire_reader *from, struct shim_look_resolve *to) {
  to->path = wire_read_string(from);
  return !from->bad;
}
static inline void shim_write_look_resolve(struct wire_writer *to, const struct shim_look_resolve *from) {
  wire_write_string(to, from->path);
}

struct shim_look_link {
  const char *path;
};
static inline bool shim_read_look_link(struct wire_reader *from, struct shim_look_link *to) {
  to->path = wire_read_string(from);
  return !from->bad;
}
static inline void shim_write_look_link(struct wire_writer *to, const struct shim_look_link *from) {
  wire_write_string(to, from->path);
}

struct shim_look_stat {
  const char *path;
};
static inline bool shim_read_look_stat(struct wire_reader *from, struct shim_look_stat *to) {
  to->path = wire_read_string(from);
  return !from->bad;
}
static inline void shim_write_look_stat(struct wire_writer *to, const struct shim_look_stat *from) {
  wire_write_string(to, from->path);
}

struct shim_look_file_system {
  const char *path;
};
static inline bool shim_read_look_file_system(struct wire_reader *from, struct shim_look_file_system *to) {
  to->path = wire_read_string(from);
  return !from->bad;
}
static inline void shim_write_look_file_system(struct wire_writer *to, const struct shim_look_file_system *from) {
  wire_write_string(to, from->path);
}

struct shim_look_list {
  const char *path;
  uint32_t most;
};
static inline bool shim_read_look_list(struct wire_reader *from, struct shim_look_list *to) {
  to->path = wire_read_string(from);
  to->most = wire_read_u32(from);
  return !from->bad;
}
static inline void shim_write_look_list(struct wire_writer *to, const struct shim_look_list *from) {
  wire_write_string(to, from->path);
  wire_write_u32(to, from->most);
}

struct shim_look_read {
  const char *path;
  uint32_t most;
};
static inline bool shim_read_look_read(struct wire_reader *from, struct shim_look_read *to) {
  to->path = wire_read_string(from);
  to->most = wire_read_u32(from);
  return !from->bad;
}
static inline void shim_write_look_read(struct wire_writer *to, const struct shim_look_read *from) {
  wire_write_string(to, from->path);
  wire_write_u32(to, from->most);
}

struct shim_look_make_path {
  const char *path;
  uint32_t mode;
};
static inline bool shim_read_look_make_path(struct wire_reader *from, struct shim_look_make_path *to) {
  to->path = wire_read_string(from);
  to->mode = wire_read_u32(from);
  return !from->bad;
}
static inline void shim_write_look_make_path(struct wire_writer *to, const struct shim_look_make_path *from) {
  wire_write_string(to, from->path);
  wire_write_u32(to, from->mode);
}

struct shim_look_make_below {
  const char *top;
  const char *path;
  uint32_t mode;
};
static inline bool shim_read_look_make_below(struct wire_reader *from, struct shim_look_make_below *to) {
  to->top = wire_read_string(from);
  to->path = wire_read_string(from);
  to->mode = wire_read_u32(from);
  return !from->bad;
}
static inline void shim_write_look_make_below(struct wire_writer *to, const struct shim_look_make_below *from) {
  wire_write_string(to, from->top);
  wire_write_string(to, from->path);
  wire_write_u32(to, from->mode);
}

struct shim_look_label {
  const char *path;
  const char *name;
  const char *value;
};
static inline bool shim_read_look_label(struct wire_reader *from, struct shim_look_label *to) {
  to->path = wire_read_string(from);
  to->name = wire_read_string(from);
  to->value = wire_read_string(from);
  return !from->bad;
}
static inline void shim_write_look_label(struct wire_writer *to, const struct shim_look_label *from) {
  wire_write_string(to, from->path);
  wire_write_string(to, from->name);
  wire_write_string(to, from->value);
}

struct shim_look_bind {
  const char *source;
  const char *target;
  const char *uid_map;
  const char *gid_map;
  uint32_t limits;
};
static inline bool shim_read_look_bind(struct wire_reader *from, struct shim_look_bind *to) {
  to->source = wire_read_string(from);
  to->target = wire_read_string(from);
  to->uid_map = wire_read_string(from);
  to->gid_map = wire_read_string(from);
  to->limits = wire_read_u32(from);
  return !from->bad;
}
static inline void shim_write_look_bind(struct wire_writer *to, const struct shim_look_bind *from) {
  wire_write_string(to, from->source);
  wire_write_string(to, from->target);
  wire_write_string(to, from->uid_map);
  wire_write_string(to, from->gid_map);
  wire_write_u32(to, from->limits);
}

struct shim_look_path {
  const char *path;
};
static inline bool shim_read_look_path(struct wire_reader *from, struct shim_look_path *to) {
  to->path = wire_read_string(from);
  return !from->bad;
}
static inline void shim_write_look_path(struct wire_writer *to, const struct shim_look_path *from) {
  wire_write_string(to, from->path);
}

struct shim_look_facts {
  uint32_t mode;
  uint32_t uid;
  uint32_t gid;
  uint32_t major;
  uint32_t minor;
};
static inline bool shim_read_look_facts(struct wire_reader *from, struct shim_look_facts *to) {
  to->mode = wire_read_u32(from);
  to->uid = wire_read_u32(from);
  to->gid = wire_read_u32(from);
  to->major = wire_read_u32(from);
  to->minor = wire_read_u32(from);
  return !from->bad;
}
static inline void shim_write_look_facts(struct wire_writer *to, const struct shim_look_facts *from) {
  wire_write_u32(to, from->mode);
  wire_write_u32(to, from->uid);
  wire_write_u32(to, from->gid);
  wire_write_u32(to, from->major);
  wire_write_u32(to, from->minor);
}

struct shim_look_type {
  uint32_t magic;
};
static inline bool shim_read_look_type(struct wire_reader *from, struct shim_look_type *to) {
  to->magic = wire_read_u32(from);
  return !from->bad;
}
static inline void shim_write_look_type(struct wire_writer *to, const struct shim_look_type *from) {
  wire_write_u32(to, from->magic);
}

struct shim_look_names {
  struct wire_strings names;
  struct wire_bytes facts;
};
static inline bool shim_read_look_names(struct wire_reader *from, struct shim_look_names *to) {
  to->names = wire_read_strings(from);
  to->facts = wire_read_bytes(from);
  return !from->bad;
}
static inline void shim_write_look_names(struct wire_writer *to, const struct shim_look_names *from) {
  wire_write_strings(to, from->names);
  wire_write_bytes(to, from->facts);
}

struct shim_look_bytes {
  struct wire_bytes bytes;
};
static inline bool shim_read_look_bytes(struct wire_reader *from, struct shim_look_bytes *to) {
  to->bytes = wire_read_bytes(from);
  return !from->bad;
}
static inline void shim_write_look_bytes(struct wire_writer *to, const struct shim_look_bytes *from) {
  wire_write_bytes(to, from->bytes);
}

#endif
