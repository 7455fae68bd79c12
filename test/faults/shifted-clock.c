/* A wall clock that jumps: preloaded into the daemon, linked into a shim of the test's own. How far it is off stands in a
   page that all of them share: /run is the test's own. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *shift; /* seconds */

__attribute__((constructor)) static void begin(void) {
  int fd = open("/run/shifted-clock", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;
  void *page = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
  close(fd);
  if (page != MAP_FAILED) shift = page;
}

static time_t off(void) { return shift ? (time_t)*shift : 0; }

int clock_gettime(clockid_t clock, struct timespec *time) {
  static __typeof__(clock_gettime) *real;
  if (!real) real = (__typeof__(clock_gettime) *)dlsym(RTLD_NEXT, "clock_gettime");
  int failed = real(clock, time);
  if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) time->tv_sec += off();
  return failed;
}

int gettimeofday(struct timeval *restrict time, void *restrict zone) {
  (void)zone;
  struct timespec now;
  if (clock_gettime(CLOCK_REALTIME, &now)) return -1;
  *time = (struct timeval){.tv_sec = now.tv_sec, .tv_usec = now.tv_nsec / 1000};
  return 0;
}

time_t time(time_t *to) {
  struct timespec now;
  if (clock_gettime(CLOCK_REALTIME, &now)) return -1;
  if (to) *to = now.tv_sec;
  return now.tv_sec;
}
