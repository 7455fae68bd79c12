/*
 * A log that keeps nobody waiting, whatever takes its lines. A pipe, a socket or a terminal that takes a line at once gets it
 * from the caller, so that a crash right after loses nothing. What would wait (a reader that stands still, a terminal stopped by
 * ^S), and a file, whose disk may hang, is left to a thread. What finds no room in memory is lost, counted and told of.
 */
#include "log.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "held.h"
#include "thread.h"

/* Of each of two halves, one of which is written while the other fills. */
enum { ROOM = 1 << 20 };

/* Lines, and how many came after them that found no room: until the half is written no more are taken, to keep their order. */
struct half {
  char *text;
  size_t used;
  uint64_t lost;
};

struct log {
  pthread_mutex_t lock; /* of all below; not held while the thread writes */
  pthread_cond_t work, idle;
  int fd;
  bool at_once; /* a write to fd never waits */
  bool is_socket;
  char prefix[8]; /* of a line of ours */
  bool writing; /* the thread's: it alone uses `missed` and `torn` meanwhile */
  bool torn; /* what was written last ended within a line */
  uint64_t missed; /* lines that are gone and not told of yet */
  uint64_t lost; /* of all time */
  struct half filling;
  char *other; /* room for the next; the thread has it while it writes */
};

static bool is_empty(const struct half *half) { return half->used == 0 && half->lost == 0; }

/* `how`: flags of send(2), for a socket. */
static ssize_t write_some(const struct log *log, const char *text, size_t length, int how) {
  if (log->is_socket) return send(log->fd, text, length, MSG_NOSIGNAL | how);
  return write(log->fd, text, length);
}

/* As far as it goes without a wait. What fails is for the thread to meet again. */
static size_t write_now(const struct log *log, const char *text, size_t length) {
  ssize_t done = write_some(log, text, length, MSG_DONTWAIT);
  return done > 0 ? (size_t)done : 0;
}

/* All of it, however long that takes, or as much as goes until it fails. */
static size_t write_all(struct log *log, const char *text, size_t length) {
  size_t done = 0;
  while (done < length) {
    ssize_t count = write_some(log, text + done, length - done, 0);
    if (count > 0) {
      done += (size_t)count;
    } else if (count < 0 && errno == EAGAIN) {
      struct pollfd ready = {.fd = log->fd, .events = POLLOUT};
      poll(&ready, 1, -1);
    } else if (count == 0 || errno != EINTR) {
      break;
    }
  }
  if (done > 0) log->torn = text[done - 1] != '\n';
  return done;
}

static uint64_t lines_in(const char *text, size_t length) {
  uint64_t lines = 0;
  for (const char *end = text + length; (text = memchr(text, '\n', (size_t)(end - text))); text++) lines++;
  return lines;
}

/* As the log's other lines, at the level of a warning. */
static void tell_missed(struct log *log) {
  char line[192], date[32];
  struct timespec now;
  struct tm utc;
  clock_gettime(CLOCK_REALTIME, &now);
  gmtime_r(&now.tv_sec, &utc);
  strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &utc);
  int length = snprintf(line, sizeof line,
                        "%s%s{\"level\":40,\"time\":\"%s.%03ldZ\",\"lines\":%" PRIu64
                        ",\"msg\":\"Lines of this log could not be written\"}\n",
                        log->torn ? "\n" : "", log->prefix, date, now.tv_nsec / 1000000, log->missed);
  if (write_all(log, line, (size_t)length) == (size_t)length) log->missed = 0;
}

/* How many of its lines could not be written, beside those that it had no room for. A line of which a part came is one. */
static uint64_t write_half(struct log *log, const struct half *half) {
  if (log->missed > 0) tell_missed(log);
  size_t done = log->missed > 0 ? 0 : write_all(log, half->text, half->used);
  uint64_t failed = lines_in(half->text + done, half->used - done);
  log->missed += failed + half->lost;
  if (failed == 0 && half->lost > 0) tell_missed(log);
  return failed;
}

static void *run(void *data) {
  struct log *log = data;
  pthread_mutex_lock(&log->lock);
  for (;;) {
    while (is_empty(&log->filling)) {
      log->writing = false;
      pthread_cond_broadcast(&log->idle);
      pthread_cond_wait(&log->work, &log->lock);
    }
    log->writing = true;
    struct half half = log->filling;
    log->filling = (struct half){.text = log->other};
    pthread_mutex_unlock(&log->lock);
    uint64_t failed = write_half(log, &half);
    pthread_mutex_lock(&log->lock);
    log->other = half.text;
    log->lost += failed;
  }
  return NULL;
}

/*
 * O_NONBLOCK is of the open file, which others have too (a shell, the program before in a pipeline): so a pipe or a terminal is
 * opened anew, by the link that /proc has for it. A socket cannot be opened, and has a flag for each send.
 */
static void choose_way(struct log *log, int fd) {
  struct stat file;
  char path[32];
  log->fd = fd;
  if (fstat(fd, &file) < 0) return;
  log->at_once = log->is_socket = S_ISSOCK(file.st_mode);
  if (!S_ISFIFO(file.st_mode) && !isatty(fd)) return;
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  int own = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
  if (own < 0) return;
  log->fd = own;
  log->at_once = true;
}

static struct log *make_log(int fd) {
  struct log *log = calloc(1, sizeof *log);
  char *room = malloc(2 * (ROOM + 1)); /* of which the kernel gives what is used */
  if (!log || !room) {
    free(log);
    free(room);
    return NULL;
  }
  pthread_mutex_init(&log->lock, NULL);
  pthread_cond_init(&log->work, NULL);
  pthread_cond_init(&log->idle, NULL);
  log->filling.text = room;
  log->other = room + ROOM + 1;
  choose_way(log, fd);
  return log;
}

/* logOpen(fd, prefix): a log, which is there as long as the process; not the descriptor's owner. The prefix is that of the
   line that tells what was lost. */
napi_value log_open(napi_env env, napi_callback_info info) {
  napi_value arguments[2], external;
  int64_t fd;
  size_t length;
  if (!take_arguments(env, info, 2, arguments) || !take_int64(env, arguments[0], &fd)) return NULL;
  struct log *log = make_log((int)fd);
  if (!log) return addon_throw_errno(env, ENOMEM, "open the log", NULL);
  if (napi_get_value_string_utf8(env, arguments[1], log->prefix, sizeof log->prefix, &length) != napi_ok ||
      napi_create_external(env, log, NULL, NULL, &external) != napi_ok)
    return addon_throw_type(env, "logOpen takes a descriptor and a text");
  int err = addon_thread(NULL, run, log);
  return err ? addon_throw_errno(env, err, "start the log's thread", NULL) : external;
}

static bool take_log(napi_env env, napi_value value, struct log **log) {
  void *pointer;
  if (napi_get_value_external(env, value, &pointer) == napi_ok && pointer) {
    *log = pointer;
    return true;
  }
  addon_throw_type(env, "not a log");
  return false;
}

/* Takes a line of so many bytes into the half that fills, and what of it goes at once out of that again. */
static bool take_line(napi_env env, struct log *log, napi_value line, size_t length) {
  struct half *half = &log->filling;
  if (half->lost > 0 || length > ROOM - half->used) {
    half->lost++;
    log->lost++;
    return true;
  }
  bool is_first = log->at_once && !log->writing && half->used == 0 && log->missed == 0;
  char *place = half->text + half->used;
  if (napi_get_value_string_utf8(env, line, place, length + 1, &length) != napi_ok) return false;
  half->used += length;
  if (!is_first) return true;
  size_t done = write_now(log, place, length);
  if (done > 0) log->torn = place[done - 1] != '\n';
  half->used = length - done;
  memmove(place, place + done, half->used);
  return true;
}

/* logWrite(log, line): a line with its newline. Never waits. */
napi_value log_write(napi_env env, napi_callback_info info) {
  napi_value arguments[2];
  struct log *log;
  size_t length;
  if (!take_arguments(env, info, 2, arguments) || !take_log(env, arguments[0], &log)) return NULL;
  if (napi_get_value_string_utf8(env, arguments[1], NULL, 0, &length) != napi_ok)
    return addon_throw_type(env, "A line must be a string");
  pthread_mutex_lock(&log->lock);
  bool taken = take_line(env, log, arguments[1], length);
  if (!is_empty(&log->filling)) pthread_cond_signal(&log->work);
  pthread_mutex_unlock(&log->lock);
  return taken ? NULL : addon_throw_type(env, "A line must be a string");
}

/* logFlush(log, ms): waits at most so long until all is written; whether it is. For the end of the process. */
napi_value log_flush(napi_env env, napi_callback_info info) {
  napi_value arguments[2], result;
  struct log *log;
  int64_t ms;
  if (!take_arguments(env, info, 2, arguments) || !take_log(env, arguments[0], &log) ||
      !take_int64(env, arguments[1], &ms))
    return NULL;
  struct timespec end;
  clock_gettime(CLOCK_MONOTONIC, &end);
  int64_t ns = end.tv_nsec + ms % 1000 * 1000000;
  end.tv_sec += ms / 1000 + ns / 1000000000;
  end.tv_nsec = ns % 1000000000;
  pthread_mutex_lock(&log->lock);
  int err = 0;
  while (!err && (log->writing || !is_empty(&log->filling)))
    err = pthread_cond_clockwait(&log->idle, &log->lock, CLOCK_MONOTONIC, &end);
  pthread_mutex_unlock(&log->lock);
  return napi_get_boolean(env, err == 0, &result) == napi_ok ? result : NULL;
}

/* logLost(log): how many lines were lost until now. */
napi_value log_lost(napi_env env, napi_callback_info info) {
  napi_value arguments[1];
  struct log *log;
  if (!take_arguments(env, info, 1, arguments) || !take_log(env, arguments[0], &log)) return NULL;
  pthread_mutex_lock(&log->lock);
  uint64_t lost = log->lost;
  pthread_mutex_unlock(&log->lock);
  return make_number(env, (double)lost);
}
