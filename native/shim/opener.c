/* Logs are opened in a child, which hands the descriptor over: their folder may be on a file server that does not answer. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "shim.h"

enum { MAX_OPENERS = 64 };
struct opener {
  struct source source;
  struct timer late;
  struct opener *next;
  uint64_t client;
  uint32_t request;
  pid_t pid; /* 0: reaped */
  char *key;
};
static struct opener *openers;

int open_sockets(int ends[2]) { return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0 ? -errno : 0; }

/* Async-signal-safe. What the shim has open must not stay open in a child that hangs: others wait for its end. */
static void close_all_but(int one, int other) {
  unsigned first = (unsigned)(one < other ? one : other), last = (unsigned)(one < other ? other : one);
  if (first > 3) syscall(SYS_close_range, 3, first - 1, 0);
  if (last > first + 1) syscall(SYS_close_range, first + 1, last - 1, 0);
  syscall(SYS_close_range, last + 1, ~0U, 0);
}

/* In the child, which keeps `failure` too. False: it could not be opened, and the other side knows why. */
bool log_hand_over(const struct log_file *log, int socket, int failure) {
  prctl(PR_SET_NAME, "berth-log");
  close_all_but(socket, failure);
  int fd = log_open(log), err = fd < 0 ? fd : 0;
  union {
    struct cmsghdr header;
    char space[CMSG_SPACE(sizeof fd)];
  } control = {.header = {.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof fd)}};
  struct iovec part = {.iov_base = &err, .iov_len = sizeof err};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
  if (fd >= 0) {
    memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
    message.msg_control = &control;
    message.msg_controllen = sizeof control.space;
  }
  return sendmsg(socket, &message, MSG_NOSIGNAL) == sizeof err && fd >= 0;
}

/* -EAGAIN: not yet. The descriptor, or why there is none. */
int log_take_over(int socket) {
  int fd = -1, err = 0;
  union {
    struct cmsghdr header;
    char space[CMSG_SPACE(sizeof fd)];
  } control = {0};
  struct iovec part = {.iov_base = &err, .iov_len = sizeof err};
  struct msghdr message = {
      .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control.space};
  ssize_t got = recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (got < 0) return errno == EINTR ? -EAGAIN : -errno;
  if (got != sizeof err) return -EPIPE;
  if (err < 0) return err;
  const struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  if (!header || header->cmsg_len != CMSG_LEN(sizeof fd)) return -EPIPE;
  memcpy(&fd, CMSG_DATA(header), sizeof fd);
  return fd;
}

static void opener_free(struct opener *opener) {
  for (struct opener **at = &openers; *at; at = &(*at)->next) {
    if (*at != opener) continue;
    *at = opener->next;
    break;
  }
  timer_stop(&opener->late);
  source_close(&opener->source);
  free(opener->key);
  free(opener);
}

/* Nobody waits for the end of what is stuck in the kernel. */
static void give_up(struct timer *timer) {
  struct opener *opener = container_of(timer, struct opener, late);
  const struct process *process = process_find(opener->key);
  const char *path = process ? process->log.path : "";
  if (opener->pid) kill(opener->pid, SIGKILL);
  complain("it takes too long to open the log", path, ETIMEDOUT);
  send_failed(opener->client, opener->request, SHIM_FAILED_SYSTEM, ETIMEDOUT, "open the log", path);
  opener_free(opener);
}

static void opened(struct source *source) {
  struct opener *opener = container_of(source, struct opener, source);
  struct process *process = process_find(opener->key);
  int fd = log_take_over(source->fd);
  if (fd == -EAGAIN) return;
  if (fd < 0) {
    send_failed(opener->client, opener->request, SHIM_FAILED_SYSTEM, fd, "open the log", process ? process->log.path : "");
  } else if (!process || !process->running) {
    close(fd);
    send_failed(opener->client, opener->request, SHIM_FAILED_NOT_RUNNING, ESRCH, "reopen the log of", opener->key);
  } else {
    log_go_on(&process->log, fd);
    send_done(opener->client, opener->request);
  }
  opener_free(opener);
}

static struct opener *opener_new(const char *key) {
  size_t count = 0;
  for (const struct opener *other = openers; other; other = other->next) count++;
  struct opener *opener = count < MAX_OPENERS ? calloc(1, sizeof *opener) : NULL;
  if (!opener) return NULL;
  opener->source.fd = -1;
  opener->next = openers;
  openers = opener;
  if ((opener->key = strdup(key))) return opener;
  opener_free(opener);
  return NULL;
}

void log_reopen(uint64_t client, uint32_t request, const struct process *process, uint32_t deadline_ms) {
  int ends[2] = {-1, -1};
  struct opener *opener = opener_new(process->key);
  if (!opener) return send_failed(client, request, SHIM_FAILED_BUSY, ENOMEM, "open the log", process->log.path);
  opener->client = client;
  opener->request = request;
  int failed = open_sockets(ends);
  if (!failed) failed = source_open(&opener->source, ends[0], POLLIN, opened);
  if (failed) close_held(&ends[0]);
  pid_t pid = failed ? -1 : fork();
  if (pid == 0) {
    log_hand_over(&process->log, ends[1], ends[1]);
    _exit(0);
  }
  if (!failed && pid < 0) failed = -errno;
  close_held(&ends[1]);
  if (failed) {
    send_failed(client, request, SHIM_FAILED_SYSTEM, failed, "open the log", process->log.path);
    return opener_free(opener);
  }
  opener->pid = pid;
  timer_arm(&opener->late, deadline_ms ? deadline_ms : LOG_OPEN_MS, give_up);
}

bool openers_reaped(pid_t pid) {
  for (struct opener *opener = openers; opener; opener = opener->next) {
    if (opener->pid != pid) continue;
    opener->pid = 0; /* what it said is in the socket */
    return true;
  }
  return false;
}

void openers_kill(void) {
  for (const struct opener *opener = openers; opener; opener = opener->next)
    if (opener->pid) kill(opener->pid, SIGKILL);
}
