/* The socket on which an OCI runtime hands over a terminal's master. */
#include "console.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "text.h"

/* The master comes as ancillary data of one message, whose text (the terminal's name) says nothing that we need. -1: there
   is none, or none yet (errno is EAGAIN). */
static int receive(int from) {
  char text[256];
  union {
    struct cmsghdr header;
    char space[CMSG_SPACE(sizeof(int))];
  } control = {0};
  struct iovec part = {.iov_base = text, .iov_len = sizeof text};
  /* Room for one and no more: CMSG_SPACE is rounded up, and a second descriptor would fit and be ours to close. */
  struct msghdr message = {
      .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = CMSG_LEN(sizeof(int))};
  int fd = -1;
  errno = 0;
  if (recvmsg(from, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT) < 0) return -1;
  const struct cmsghdr *got = CMSG_FIRSTHDR(&message);
  if (got && got->cmsg_level == SOL_SOCKET && got->cmsg_type == SCM_RIGHTS && got->cmsg_len == CMSG_LEN(sizeof fd))
    memcpy(&fd, CMSG_DATA(got), sizeof fd);
  return fd;
}

/* Between its connect and its message a sender may take its time: the loop goes on meanwhile. */
static void peer_ready(struct source *source) {
  struct console *console = container_of(source, struct console, peer);
  int master = receive(source->fd);
  if (master < 0 && errno == EAGAIN) return;
  console->master = master;
  source_close(source);
}

/* One terminal is expected: who connects later, or besides, is turned away. */
static void console_ready(struct source *source) {
  struct console *console = container_of(source, struct console, source);
  int fd = accept4(source->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
  bool wanted = fd >= 0 && console->master < 0 && console->peer.fd < 0;
  if (fd >= 0 && (!wanted || source_open(&console->peer, fd, POLLIN, peer_ready))) close(fd);
}

int console_open(struct console *console) {
  static uint32_t serial;
  char number[24], pid[24];
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  console->master = console->source.fd = console->peer.fd = -1;
  join(console->name, "console-", decimal(number, ++serial, 1), ".sock");
  /* A pod's folder may be too deep for the 107 bytes of a socket's path; the way through /proc is always short. */
  join(console->path, "/proc/", decimal(pid, (uint64_t)getpid(), 1), "/cwd/", console->name);
  memcpy(address.sun_path, console->name, strlen(console->name) + 1);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return -errno;
  unlink(console->name);
  int failed = bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, 4) < 0 ? -errno : 0;
  if (!failed) failed = source_open(&console->source, fd, POLLIN, console_ready);
  if (failed) close(fd);
  return failed;
}

int console_take(struct console *console) {
  if (console->source.fd >= 0) {
    /* The OCI runtime has ended: what it sent is there, if poll() has not told of it yet. */
    if (console->master < 0 && console->peer.fd < 0) console_ready(&console->source);
    if (console->peer.fd >= 0) peer_ready(&console->peer);
    source_close(&console->peer);
    source_close(&console->source);
    unlink(console->name);
  }
  int master = console->master;
  console->master = -1;
  return master;
}
