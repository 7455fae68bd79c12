#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "shim.h"

enum { OUT_SIZE = 131072, HEAD_SIZE = 48 };
/* One buffer serves every log: it is empty whenever the loop turns. Untouched pages of it cost nothing. */
static _Alignas(4096) char out[OUT_SIZE];
static size_t used;

void log_cool(void) { madvise(out, sizeof out, MADV_DONTNEED); }

/* Whoever can write below the log's folder must not lead us elsewhere by a link. Runs in a child: async-signal-safe. */
int log_open(const struct log_file *log) {
  bool below = log->folder && *log->folder;
  cleanup_fd int folder = below ? open(log->folder, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
  if (below && folder < 0) return -errno;
  const char *path = below ? log->name + strspn(log->name, "/") : log->path;
  /* O_NONBLOCK keeps a FIFO at this path from blocking the pod; a regular file ignores it. */
  struct open_how how = {.flags = O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY,
                         .mode = 0640,
                         .resolve = RESOLVE_NO_SYMLINKS | (below ? RESOLVE_BENEATH : 0)};
  int fd = (int)syscall(SYS_openat2, below ? folder : AT_FDCWD, path, &how, sizeof how);
  struct stat found;
  if (fd < 0) return -errno;
  if (fstat(fd, &found) == 0 && S_ISREG(found.st_mode)) return fd;
  close(fd);
  return -EINVAL;
}

void log_begin(struct log_file *log, int fd) {
  struct stat now;
  log->fd = fd;
  log->began = fstat(log->fd, &now) == 0 ? now.st_size : 0;
}

void log_free(struct log_file *log) {
  close_held(&log->fd);
  free(log->path);
  free(log->folder);
  free(log->name);
}

void log_take_back(struct log_file *log) {
  if (ftruncate(log->fd, log->began) < 0) complain("cannot take back what is in", log->path, errno);
  log->lost_bytes = log->lost_lines = 0;
}

/* Proleptic Gregorian date of a day since 1970-01-01: the year is taken to begin in March, after the leap day. */
static void date_of(int64_t days, unsigned *year, unsigned *month, unsigned *day) {
  days += 719468;
  unsigned era_day = (unsigned)(days % 146097);
  unsigned era_year = (era_day - era_day / 1460 + era_day / 36524 - era_day / 146096) / 365;
  unsigned year_day = era_day - (365 * era_year + era_year / 4 - era_year / 100);
  unsigned shifted = (5 * year_day + 2) / 153;
  *day = year_day - (153 * shifted + 2) / 5 + 1;
  *month = shifted < 10 ? shifted + 3 : shifted - 9;
  *year = (unsigned)(days / 146097 * 400) + era_year + (*month <= 2);
}

static char *put_number(char *at, unsigned value, unsigned width, char after) {
  for (unsigned i = width; i > 0; i--, value /= 10) at[i - 1] = (char)('0' + value % 10);
  at[width] = after;
  return at + width + 1;
}

/* `2026-01-02T03:04:05.000000006Z stdout F `; the tag is the last but one character. */
static size_t make_head(char head[HEAD_SIZE], const char *name) {
  struct timespec now;
  unsigned year, month, day;
  clock_gettime(CLOCK_REALTIME, &now);
  unsigned second = (unsigned)(now.tv_sec % 86400);
  date_of(now.tv_sec / 86400, &year, &month, &day);
  char *at = put_number(put_number(put_number(head, year, 4, '-'), month, 2, '-'), day, 2, 'T');
  at = put_number(put_number(at, second / 3600, 2, ':'), second / 60 % 60, 2, ':');
  at = put_number(put_number(at, second % 60, 2, '.'), (unsigned)now.tv_nsec, 9, 'Z');
  size_t size = strlen(name);
  *at++ = ' ';
  memcpy(at, name, size);
  memcpy(at + size, " F ", 3);
  return (size_t)(at - head) + size + 3;
}

static void count_lost(struct log_file *log, const char *text, size_t size) {
  log->lost_bytes += size;
  for (const char *end = text + size; (text = memchr(text, '\n', (size_t)(end - text))); text++) log->lost_lines++;
}

/* Writes what is in the buffer. A full or failing disk must not stop the container: what it refuses is counted and
   dropped, and a line that went in half is taken back, so that a reader never sees a torn one. */
static void flush(struct log_file *log) {
  size_t done = 0;
  while (done < used) {
    ssize_t wrote = write(log->fd, out + done, used - done);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) break;
    done += (size_t)wrote;
  }
  if (done < used) {
    const char *line_end = memrchr(out, '\n', done);
    size_t whole = line_end ? (size_t)(line_end - out) + 1 : 0;
    struct stat now;
    if (whole < done && fstat(log->fd, &now) == 0 && ftruncate(log->fd, now.st_size - (off_t)(done - whole)) < 0)
      complain("cannot take back half a line of", log->path, errno);
    count_lost(log, out + whole, used - whole);
  }
  used = 0;
}

static void put_line(struct log_file *log, const char *head, size_t head_size, char tag, struct log_line *line,
                     const char *text, size_t size) {
  if (OUT_SIZE - used < head_size + line->size + size + 1) flush(log);
  char *at = out + used;
  memcpy(at, head, head_size);
  at[head_size - 2] = tag;
  at += head_size;
  if (line->size) memcpy(at, line->text, line->size);
  at += line->size;
  memcpy(at, text, size);
  at[size] = '\n';
  used += head_size + line->size + size + 1;
  line->size = 0;
}

static void keep(struct log_file *log, struct log_line *line, const char *text, size_t size) {
  if (!line->text && !(line->text = malloc(LOG_LINE))) {
    log->lost_bytes += size;
    return;
  }
  memcpy(line->text + line->size, text, size);
  line->size += size;
}

void log_feed(struct log_file *log, struct log_line *line, const char *name, const char *text, size_t size) {
  char head[HEAD_SIZE];
  size_t head_size = make_head(head, name);
  while (size) {
    size_t fits = LOG_LINE - line->size;
    const char *end = memchr(text, '\n', size > fits ? fits + 1 : size);
    if (!end && size <= fits) {
      keep(log, line, text, size);
      break;
    }
    size_t taken = end ? (size_t)(end - text) : fits;
    put_line(log, head, head_size, end ? 'F' : 'P', line, text, taken);
    taken += end != NULL;
    text += taken;
    size -= taken;
  }
  if (used) flush(log);
  if (line->size == 0) {
    free(line->text);
    line->text = NULL;
  }
}

void log_end_line(struct log_file *log, struct log_line *line, const char *name) {
  char head[HEAD_SIZE];
  if (!line->size) return;
  /* What no newline ended stays a piece: readers put no newline behind it, and so show the very bytes. */
  put_line(log, head, make_head(head, name), 'P', line, "", 0);
  flush(log);
  free(line->text);
  line->text = NULL;
}
