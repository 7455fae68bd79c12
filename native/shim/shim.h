/* What the shim's files share. One thread, one poll() loop; every descriptor is close-on-exec. */
#ifndef BERTH_SHIM_H
#define BERTH_SHIM_H
#include <stddef.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#include "protocol.h"

#define container_of(pointer, type, member) ((type *)(void *)((char *)(pointer)-offsetof(type, member)))
#define cleanup_fd __attribute__((cleanup(close_held)))

/* text.c: text and small files without stdio, which would cost memory in every shim. */
void close_held(int *fd);
bool join_parts(char *out, size_t capacity, const char *const *parts, size_t count); /* false: cut short */
#define join(out, ...) \
  join_parts(out, sizeof(out), (const char *const[]){__VA_ARGS__}, \
             sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))
char *decimal(char text[24], uint64_t value, unsigned width);
ssize_t read_file(const char *path, char *text, size_t capacity); /* bytes, text ends with NUL; or -errno */
pid_t read_pid(const char *path); /* what a program wrote there for us; or -errno */
int write_file(const char *path, int flags, const char *text, size_t size);
void complain(const char *what, const char *about, int err);
int open_namespace(pid_t pid, const char *type); /* of a child that is not reaped; or -errno */

/* loop.c: sources of events and timers. A handler may close any source, its own included. */
struct source {
  int fd;
  short events;
  size_t index;
  void (*ready)(struct source *);
};
struct timer {
  uint64_t at; /* milliseconds, monotonic; 0: not armed */
  void (*fire)(struct timer *);
  struct timer *next;
};
int source_open(struct source *source, int fd, short events, void (*ready)(struct source *));
void source_close(struct source *source);
void timer_arm(struct timer *timer, uint64_t delay_ms, void (*fire)(struct timer *));
void timer_stop(struct timer *timer);
uint64_t now_ms(void);
uint64_t now_us(void);
int loop_turn(void);

/* client.c: connections. A client id stays valid, and answers nothing, after its connection went away. */
int client_open(int fd);
int clients_listen(const char *name);
void clients_close(void);
bool clients_busy(void); /* some frame is not written yet */
struct parcel { /* descriptors that go with a frame; they are the frame's from then on */
  int fd[3];
  size_t count;
};
size_t client_room(uint64_t client); /* bytes that may still wait for it */
size_t clients_waiting(void);        /* bytes that wait for all of them */
void send_frame(uint64_t client, struct wire_writer *frame);
void send_parcel(uint64_t client, struct wire_writer *frame, struct parcel parcel);
void send_failed(uint64_t client, uint32_t request, enum shim_failure kind, int err, const char *step, const char *about);
void send_done(uint64_t client, uint32_t request);
#define SEND(client, message, MESSAGE, request, ...) \
  do { \
    struct wire_writer frame_ = wire_begin(SHIM_##MESSAGE, request); \
    shim_write_##message(&frame_, &(struct shim_##message){__VA_ARGS__}); \
    send_frame(client, &frame_); \
  } while (0)
#define EVERY_CLIENT UINT64_MAX
#define NO_CLIENT 0

/* request.c */
void request_handle(uint64_t client, uint16_t type, uint32_t request, struct wire_reader *from);

/* tree.c: processes by descent and session, from /proc. */
size_t tree_signal(pid_t root, int signo, bool with_root);
void tree_kill(pid_t root);
pid_t tree_child_above(pid_t pid);

/* child.c */
struct spawn {
  struct wire_strings argv, env;
  const char *cwd, *console; /* console replaces {console} in argv */
  bool adjust_oom;
  int32_t oom_score_adj;
  int stdio[3];
  const struct log_file *log; /* opened before the command begins, and handed over by this socket; or NULL */
  int log_socket;
};
pid_t spawn_command(const struct spawn *spawn, int *failure);
int open_pipe(int ends[2]);

/* log.c: CRI log lines. */
struct log_file {
  int fd;
  char *path, *folder, *name; /* the name is below the folder; no folder: the path has no link */
  off_t began; /* its size when it was opened for a new process */
  off_t whole; /* where it is to end: what follows is half a record that could not be taken back; -1: nothing does */
  uint64_t lost_bytes, lost_lines;
  int lost_error;                /* the errno of the latest loss */
  void (*lost)(struct log_file *); /* told of each loss */
};
struct log_line { /* text that no newline ended yet */
  char *text;
  size_t size;
  bool open; /* what is in the log ends with a piece */
  bool cut;  /* the line of that piece has ended, and its end was lost */
  bool lost; /* a piece was lost: so is the rest of the line */
};
enum { LOG_LINE = 16384, LOG_OPEN_MS = 10000 };
void log_cool(void);
int log_open(const struct log_file *log);
void log_begin(struct log_file *log, int fd); /* for a new process */
void log_take_back(struct log_file *log);     /* all that was written since */
void log_go_on(struct log_file *log, int fd); /* in another file */
void log_free(struct log_file *log);
void log_feed(struct log_file *log, struct log_line *line, const char *name, const char *text, size_t size);
void log_end_line(struct log_file *log, struct log_line *line, const char *name);

/* opener.c: logs are opened in a child. */
int open_sockets(int ends[2]);
bool log_hand_over(const struct log_file *log, int socket, int failure);
int log_take_over(int socket);

/* tap.c: copies of a stream for those attached to it. */
struct tap;
struct stream;
int tap_open(struct stream *stream); /* the read end, or -errno */
void taps_feed(struct stream *stream, const char *text, size_t size);
void taps_end(struct stream *stream, bool at_once); /* not at once: when each has what is waiting for it */

/* stream.c: what a process writes, captured or logged. */
struct stream {
  struct source source;
  const char *name; /* stdout or stderr */
  struct log_file *log;
  struct log_file *overflow; /* where it goes on when the capture is full; NULL: it is cut off */
  struct log_line line;
  uint8_t *data;
  size_t size, capacity, limit;
  bool truncated, dropping, wide;
  struct tap *taps;
  size_t stalled; /* taps that have to be written to before the stream is read on */
  void (*closed)(void *owner);
  void *owner;
};
struct stream *stream_open(int fd, const char *name, size_t limit);
void stream_hold(struct stream *stream); /* not to be read before it is drained, released or taken */
void stream_release(struct stream *stream);
int stream_take(struct stream *stream); /* its descriptor; the stream is gone */
void stream_drain(struct stream *stream); /* what is there now, and no more than that */
void stream_to_log(struct stream *stream, struct log_file *log);
void stream_overflow_to(struct stream *stream, struct log_file *log);
bool stream_leave_log(struct stream *stream); /* true if it had overflowed there; it is captured only from now on */
void stream_free(struct stream *stream);
static inline bool stream_ended(const struct stream *stream) { return !stream || stream->source.fd < 0; }

/* console.c: the socket on which an OCI runtime hands over a terminal's master. */
struct console {
  struct source source, peer; /* the socket, and who connected to it */
  char name[40], path[108];
  int master;
};
int console_open(struct console *console);
int console_take(struct console *console); /* the master's descriptor, or -1; the socket is gone after it */

/* holder.c: the pause process before it is one. */
struct verdict {
  int err; /* 0: all went well */
  char step[252];
};
int sysctl_write(const char *setting); /* name=value, of the namespaces that we are in; 0 or -errno */
/* Runs in the new process. Says on `report` what failed, or has the pause program say that it waits. */
_Noreturn void holder_run(const struct shim_sandbox *want, int go, int report);

/* sandbox.c */
void sandbox_start(uint64_t client, uint32_t request, const struct shim_sandbox *want);
void sandbox_stop(uint64_t client, uint32_t request);
bool sandbox_reaped(pid_t pid, int status);
void sandbox_hold(uint64_t client, uint32_t request);
void sandbox_sysctls(uint64_t client, uint32_t request, const struct shim_sysctls *want);
pid_t sandbox_pid(void);
/* A pipe becomes the pod's root's, so that a process opens its own /dev/stdout: the kernel lets only who owns it, and an
   OCI runtime cannot give away in a user namespace what is not mapped there. */
void sandbox_give(int fd);

/* process.c: tracked processes. */
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
void log_reopen(uint64_t client, uint32_t request, const struct process *process, uint32_t deadline_ms);
bool openers_reaped(pid_t pid);
void openers_kill(void);
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

/* job.c: commands in flight. */
void job_run(uint64_t client, uint32_t request, const struct shim_run *want);
void job_start(uint64_t client, uint32_t request, const struct shim_start *want);
void job_exec(uint64_t client, uint32_t request, const struct shim_exec *want);
void job_open_exec(uint64_t client, uint32_t request, const struct shim_open_exec *want);
bool job_cancel(uint64_t client, uint32_t request);
bool jobs_reaped(pid_t pid, int status);
/* After children were reaped: what they left behind may be ours now. */
void jobs_adopt(void);
bool jobs_running(void);
void jobs_kill(void);

/* orphan.c: statuses of children that nobody has claimed yet. */
void orphan_note(pid_t pid, int status);
int orphan_claim(pid_t pid, int *status); /* 1: it ended; 0: it lives; -ECHILD: it is not ours */
void orphans_forget(void);
#endif
