/* Logs are opened in a child, which hands the descriptor over: their folder may be on a file server that does not answer. */
#include "opener.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "log.h"

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
  umask(0); /* the mode of a log is what collectors go by: their group reads it */
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
