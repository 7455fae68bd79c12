/* A disk that fails now and then, below folders that the test names: preloaded into the daemon, linked into a shim of the
   test's own. Its orders come, and what it did goes, through one page that all of them share: /run is the test's own. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { OFF, ONCE, FROM_THEN_ON };

/* As test/faults/failing-disk.ts writes and reads it. */
struct orders {
  uint32_t mode, error;
  uint32_t at; /* the first call that fails, from 1 on; 0: none */
  uint32_t seen, failed;
  char below[3][200];
};

static struct orders *orders;

__attribute__((constructor)) static void begin(void) {
  int fd = open("/run/failing-disk", O_RDWR | O_CLOEXEC);
  if (fd < 0) return;
  void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  if (page != MAP_FAILED) orders = page;
}

static bool concerns(const char *path) {
  for (int i = 0; i < 3; i++) {
    size_t length = strnlen(orders->below[i], sizeof orders->below[i]);
    if (length && strncmp(path, orders->below[i], length) == 0 && (path[length] == '/' || !path[length])) return true;
  }
  return false;
}

/* Which of the calls on the failing disk this is; 0: none of them. */
static uint32_t number_of(const char *path) {
  if (!orders || orders->mode == OFF || !concerns(path)) return 0;
  return __atomic_add_fetch(&orders->seen, 1, __ATOMIC_SEQ_CST);
}

static bool fails(uint32_t number) {
  if (!number || !orders->at || number < orders->at || (orders->mode == ONCE && number > orders->at)) return false;
  __atomic_add_fetch(&orders->failed, 1, __ATOMIC_SEQ_CST);
  errno = (int)orders->error;
  return true;
}

static bool fails_at(int folder, const char *path) {
  if (!orders || orders->mode == OFF) return false;
  char whole[8192], link[40];
  if (*path == '/' || folder == AT_FDCWD) return fails(number_of(path));
  snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
  ssize_t size = readlink(link, whole, 4096);
  if (size < 0) return false;
  snprintf(whole + size, sizeof whole - (size_t)size, "/%s", path);
  return fails(number_of(whole));
}

static uint32_t number_of_fd(int fd) {
  if (!orders || orders->mode == OFF) return 0;
  char path[4097], link[40];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t size = readlink(link, path, 4096);
  if (size < 0) return 0;
  path[size] = 0;
  return number_of(path);
}

#define REAL(name) \
  static __typeof__(name) *real; \
  if (!real) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

/* The first write of a disk that fails from then on goes in by half. */
static bool is_halved(uint32_t number, size_t size) {
  return number && orders->mode == FROM_THEN_ON && number == orders->at && size > 1;
}

ssize_t write(int fd, const void *data, size_t size) {
  REAL(write);
  uint32_t number = number_of_fd(fd);
  if (is_halved(number, size)) return real(fd, data, size / 2);
  return fails(number) ? -1 : real(fd, data, size);
}

#define PWRITE(name, offset_t) \
  ssize_t name(int fd, const void *data, size_t size, offset_t at) { \
    REAL(name); \
    uint32_t number = number_of_fd(fd); \
    if (is_halved(number, size)) return real(fd, data, size / 2, at); \
    return fails(number) ? -1 : real(fd, data, size, at); \
  }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

#define ON_FD(type, name, parameters, arguments) \
  type name parameters { \
    REAL(name); \
    return fails(number_of_fd(fd)) ? -1 : real arguments; \
  }
ON_FD(ssize_t, writev, (int fd, const struct iovec *parts, int count), (fd, parts, count))
ON_FD(ssize_t, pwritev, (int fd, const struct iovec *parts, int count, off_t at), (fd, parts, count, at))
ON_FD(ssize_t, pwritev64, (int fd, const struct iovec *parts, int count, off64_t at), (fd, parts, count, at))
ON_FD(int, fsync, (int fd), (fd))
ON_FD(int, fdatasync, (int fd), (fd))
ON_FD(int, syncfs, (int fd), (fd))

#define ON_PATH(name, parameters, folder, path, arguments) \
  int name parameters { \
    REAL(name); \
    return fails_at(folder, path) ? -1 : real arguments; \
  }
ON_PATH(rename, (const char *from, const char *to), AT_FDCWD, to, (from, to))
ON_PATH(renameat, (int at, const char *from, int folder, const char *to), folder, to, (at, from, folder, to))
ON_PATH(renameat2, (int at, const char *from, int folder, const char *to, unsigned flags), folder, to,
        (at, from, folder, to, flags))
ON_PATH(mkdir, (const char *path, mode_t mode), AT_FDCWD, path, (path, mode))
ON_PATH(mkdirat, (int folder, const char *path, mode_t mode), folder, path, (folder, path, mode))
ON_PATH(symlinkat, (const char *to, int folder, const char *path), folder, path, (to, folder, path))
ON_PATH(linkat, (int at, const char *from, int folder, const char *path, int flags), folder, path,
        (at, from, folder, path, flags))

static mode_t mode_in(int flags, va_list list) { return flags & O_CREAT ? va_arg(list, mode_t) : 0; }

#define OPEN(name) \
  int name(const char *path, int flags, ...) { \
    REAL(name); \
    va_list list; \
    va_start(list, flags); \
    mode_t mode = mode_in(flags, list); \
    va_end(list); \
    return flags & O_CREAT && fails_at(AT_FDCWD, path) ? -1 : real(path, flags, mode); \
  }
#define OPENAT(name) \
  int name(int folder, const char *path, int flags, ...) { \
    REAL(name); \
    va_list list; \
    va_start(list, flags); \
    mode_t mode = mode_in(flags, list); \
    va_end(list); \
    return flags & O_CREAT && fails_at(folder, path) ? -1 : real(folder, path, flags, mode); \
  }
OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)
