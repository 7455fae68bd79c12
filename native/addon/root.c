/* Opening what is in a tree that somebody else may change meanwhile: below a root, never out of it. */
#include "root.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NO_LINKS (RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS)

static int resolve(int at, const char *path, int flags, uint64_t limits) {
  struct open_how how = {.flags = (uint64_t)(flags | O_CLOEXEC), .resolve = limits};
  /* EAGAIN: a rename or mount elsewhere raced with a ".." step; openat2(2) asks for another try. */
  for (int attempt = 0; attempt < 64; attempt++) {
    long fd = syscall(SYS_openat2, at, path, &how, sizeof how);
    if (fd >= 0) return (int)fd;
    if (errno != EAGAIN && errno != EINTR) return -errno;
  }
  return -EAGAIN;
}

int open_in_root(int root, const char *path, int flags) {
  return resolve(root, path, flags, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
}

int open_child(int folder, const char *name, int flags, bool crosses) {
  return resolve(folder, name, flags | O_NOFOLLOW, RESOLVE_BENEATH | NO_LINKS | (crosses ? 0 : RESOLVE_NO_XDEV));
}

int open_parent(int folder, bool crosses) {
  return resolve(folder, "..", O_RDONLY | O_DIRECTORY, NO_LINKS | (crosses ? 0 : RESOLVE_NO_XDEV));
}

int open_without_links(const char *path, int flags) { return resolve(AT_FDCWD, path, flags | O_NOFOLLOW, NO_LINKS); }

int open_again(int handle, int flags) {
  char self[32];
  snprintf(self, sizeof self, "/proc/self/fd/%d", handle);
  int fd = open(self, flags | O_CLOEXEC);
  return fd < 0 ? -errno : fd;
}
