/* What everything that works on files needs, whether it is JavaScript's or the looker's: descriptors and memory that go with
   their scope. */
#ifndef BERTH_HELD_H
#define BERTH_HELD_H
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Closes without disturbing errno, so that `return -errno` may follow in any order. */
static inline void close_fd(const int *fd) {
  int saved = errno;
  if (*fd >= 0) close(*fd);
  errno = saved;
}
#define cleanup_fd __attribute__((cleanup(close_fd)))

static inline void close_directory(DIR **dir) {
  int saved = errno;
  if (*dir) closedir(*dir);
  errno = saved;
}
#define cleanup_dir __attribute__((cleanup(close_directory)))

static inline void free_pointer(void *place) { free(*(void **)place); }
#define cleanup_free __attribute__((cleanup(free_pointer)))

static inline bool is_dot(const char *name) {
  return name[0] == '.' && (name[1] == 0 || (name[1] == '.' && name[2] == 0));
}

#endif
