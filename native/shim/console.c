#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "shim.h"

/* The master comes as ancillary data of one message, whose text (the terminal's name) says nothing that we need. */
static int receive(int from) {
  char text[256];
  union {
    struct cmsghdr header;
    char space[CMSG_SPACE(sizeof(int))];
  } control = {0};
  struct iovec part = {.iov_base = text, .iov_len = sizeof text};
  struct msghdr message = {
      .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
  int fd = -1;
  /* Blocking, but for no longer than the peer, who has connected, takes to send; it may be gone as well. */
  if (poll(&(struct pollfd){.fd = from, .events = POLLIN}, 1, 1000) != 1) return -1;
  if (recvmsg(from, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT) < 0) return -1;
  const struct cmsghdr *got = CMSG_FIRSTHDR(&message);
  if (got && got->cmsg_level == SOL_SOCKET && got->cmsg_type == SCM_RIGHTS && got->cmsg_len == CMSG_LEN(sizeof fd))
    memcpy(&fd, CMSG_DATA(got), sizeof fd);
  return fd;
}

static void console_ready(struct source *source) {
  struct console *console = container_of(source, struct console, source);
  cleanup_fd int peer = accept4(source->fd, NULL, NULL, SOCK_CLOEXEC);
  if (peer < 0) return;
  int master = receive(peer);
  if (master >= 0 && console->master >= 0) close(master);
  else if (master >= 0) console->master = master;
}

int console_open(struct console *console) {
  static uint32_t serial;
  char number[24], pid[24];
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  console->master = console->source.fd = -1;
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
    if (console->master < 0) console_ready(&console->source); /* connected, and not seen by poll() yet */
    source_close(&console->source);
    unlink(console->name);
  }
  int master = console->master;
  console->master = -1;
  return master;
}
