/* Text and small files without stdio, which would cost memory in every shim. */
#include "text.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "descriptor.h"

bool join_parts(char *out, size_t capacity, const char *const *parts, size_t count) {
  size_t used = 0;
  bool whole = true;
  for (size_t i = 0; i < count; i++) {
    size_t size = strlen(parts[i]);
    if (size > capacity - 1 - used) {
      size = capacity - 1 - used;
      whole = false;
    }
    memcpy(out + used, parts[i], size);
    used += size;
  }
  out[used] = 0;
  return whole;
}

char *decimal(char text[24], uint64_t value, unsigned width) {
  char *at = text + 23;
  *at = 0;
  while (value || width || at == text + 23) {
    *--at = (char)('0' + value % 10);
    value /= 10;
    if (width) width--;
    if (at == text) break;
  }
  return at;
}

ssize_t read_file(const char *path, char *text, size_t capacity) {
  cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (fd < 0) return -errno;
  size_t used = 0;
  for (ssize_t got = 1; got > 0 && used < capacity - 1; used += (size_t)got) {
    got = read(fd, text + used, capacity - 1 - used);
    if (got < 0) return -errno;
  }
  text[used] = 0;
  return (ssize_t)used;
}

pid_t read_pid(const char *path) {
  char text[32];
  ssize_t size = read_file(path, text, sizeof text);
  if (size < 0) return (pid_t)size;
  int64_t pid = 0;
  const char *at = text;
  for (; *at >= '0' && *at <= '9' && at - text < 10; at++) pid = pid * 10 + (*at - '0');
  return at == text || (*at && *at != '\n') || pid <= 1 || pid > INT32_MAX ? -EINVAL : (pid_t)pid;
}

int write_file(const char *path, int flags, const char *text, size_t size) {
  /* O_NONBLOCK: opening a FIFO would wait for a reader; a file takes no notice. */
  cleanup_fd int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | flags, 0600);
  if (fd < 0) return -errno;
  ssize_t wrote = write(fd, text, size);
  if (wrote < 0) return -errno;
  return (size_t)wrote == size ? 0 : -ENOSPC;
}

int open_namespace(pid_t pid, const char *type) {
  char path[64], digits[24];
  join(path, "/proc/", decimal(digits, (uint64_t)pid, 1), "/ns/", type);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  return fd < 0 ? -errno : fd;
}

void complain(const char *what, const char *about, int err) {
  char line[512];
  const char *name = strerrorname_np(err);
  join(line, "berth-shim: ", what, " ", about, ": ", name ? name : "unknown error", "\n");
  if (write(STDERR_FILENO, line, strlen(line)) < 0) return; /* there is nobody left to tell */
}
