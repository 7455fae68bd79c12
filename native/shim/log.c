/* CRI log lines: whole records, or none, whatever the disk refuses. */
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "date.h"
#include "descriptor.h"
#include "protocol.h"
#include "text.h"

enum { OUT_SIZE = 131072, HEAD_SIZE = 48 };
/* One buffer serves every log: it is empty whenever the loop turns. Untouched pages of it cost nothing. */
static _Alignas(4096) char out[OUT_SIZE];
/* What is in it: whole records of one stream. `open` and `cut` are its line's when the first of them was put. */
static struct {
  size_t used, head_size;
  bool open, cut;
} waiting;

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
  log->whole = -1;
  log->fd = fd;
  log->began = fstat(log->fd, &now) == 0 ? now.st_size : 0;
}

void log_free(struct log_file *log) {
  close_held(&log->fd);
  free(log->path);
  free(log->folder);
  free(log->name);
}

/* Half a record that could not be taken back is, before anything follows it. */
static int mend(struct log_file *log) {
  struct stat now;
  if (log->whole < 0) return 0;
  if (fstat(log->fd, &now) < 0 || (now.st_size > log->whole && ftruncate(log->fd, log->whole) < 0)) return -errno;
  log->whole = -1;
  return 0;
}

static void take_back(struct log_file *log, size_t size) {
  struct stat now;
  if (!size) return;
  if (fstat(log->fd, &now) == 0) log->whole = now.st_size - (off_t)size;
  int failed = mend(log);
  if (failed) complain("cannot take back half a line of", log->path, -failed);
}

void log_go_on(struct log_file *log, int fd) {
  mend(log); /* the last time that it is tried */
  close_held(&log->fd); /* every feed ends with a write, so nothing waits for the old file */
  log->fd = fd;
  log->whole = -1;
}

void log_take_back(struct log_file *log) {
  if (ftruncate(log->fd, log->began) < 0) complain("cannot take back what is in", log->path, errno);
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

static void count_lost(struct log_file *log, size_t bytes, size_t lines, int error) {
  log->lost_bytes += bytes;
  log->lost_lines += lines;
  log->lost_error = error;
  if (log->lost) log->lost(log);
}

/* The line ended, and some of it was lost. Readers join a piece with what follows: one that is in the log is ended there
   before the next line. */
static void end_lost_line(struct log_line *line) {
  line->lost = false;
  line->cut = line->open;
}

/* Of the record that begins at `start`. */
static bool ends_line(size_t start) { return out[start + waiting.head_size - 2] == 'F'; }

/* Where the record that ends before `end` begins. */
static size_t start_of(size_t end) {
  const char *before = memrchr(out, '\n', end - 1);
  return before ? (size_t)(before - out) + 1 : 0;
}

/* Of the first `size` bytes, those that are whole lines. */
static size_t whole_lines(size_t size) {
  const char *end = memrchr(out, '\n', size);
  size = end ? (size_t)(end - out) + 1 : 0;
  while (size && !ends_line(start_of(size))) size = start_of(size);
  return size;
}

/* What did not go in whole is taken back, pieces of a line that has others on the disk already excepted: a reader sees
   whole lines, and a long one cut at the worst. */
static void lose(struct log_file *log, struct log_line *line, size_t done, int error) {
  size_t kept = whole_lines(done), lines = 0;
  take_back(log, done - kept);
  for (size_t at = kept; at < waiting.used; at = (size_t)((char *)memchr(out + at, '\n', waiting.used - at) - out) + 1)
    lines += ends_line(at);
  size_t marks = !kept && waiting.cut; /* what was to end a line that is counted already */
  count_lost(log, waiting.used - kept - marks * (waiting.head_size + 1), lines - marks, error);
  line->lost = !ends_line(start_of(waiting.used));
  if (line->lost) { /* what has come of it since goes the same way */
    count_lost(log, line->size, 0, error);
    line->size = 0;
  }
  line->open = !kept && waiting.open;
  line->cut = line->open && (waiting.cut || lines > 0);
}

/* A full or failing disk must not stop the container: what it refuses is counted and dropped. */
static void flush(struct log_file *log, struct log_line *line) {
  size_t done = 0;
  int failed = waiting.used ? mend(log) : 0;
  while (!failed && done < waiting.used) {
    ssize_t wrote = write(log->fd, out + done, waiting.used - done);
    if (wrote > 0) done += (size_t)wrote;
    else if (wrote == 0 || errno != EINTR) failed = wrote ? -errno : -EIO;
  }
  if (failed) lose(log, line, done, -failed);
  waiting.used = 0;
}

static void put_record(const char *head, char tag, const struct log_line *line, const char *text, size_t size) {
  size_t head_size = waiting.head_size;
  char *at = out + waiting.used;
  memcpy(at, head, head_size);
  at[head_size - 2] = tag;
  at += head_size;
  if (line->size) memcpy(at, line->text, line->size);
  at += line->size;
  if (size) memcpy(at, text, size);
  at[size] = '\n';
  waiting.used += head_size + line->size + size + 1;
}

static void put_line(struct log_file *log, const char *head, size_t head_size, char tag, struct log_line *line,
                     const char *text, size_t size) {
  static const struct log_line nothing;
  if (OUT_SIZE - waiting.used < 2 * head_size + line->size + size + 2) flush(log, line);
  if (line->lost) { /* by that */
    count_lost(log, line->size + size, tag == 'F', log->lost_error);
    if (tag == 'F') end_lost_line(line);
    line->size = 0;
    return;
  }
  waiting.head_size = head_size;
  if (!waiting.used) waiting.open = line->open;
  if (!waiting.used) waiting.cut = line->cut;
  if (line->cut) put_record(head, 'F', &nothing, "", 0);
  put_record(head, tag, line, text, size);
  line->size = 0;
  line->cut = false;
  line->open = tag == 'P';
}

static void keep(struct log_file *log, struct log_line *line, const char *text, size_t size) {
  if (!line->text && !(line->text = malloc(SHIM_MAX_LOG_LINE))) {
    line->lost = true;
    return count_lost(log, size, 0, ENOMEM);
  }
  memcpy(line->text + line->size, text, size);
  line->size += size;
}

/* What is left of a line that was lost in part; the bytes that it takes of `text`. */
static size_t drop(struct log_file *log, struct log_line *line, const char *text, size_t size) {
  const char *end = memchr(text, '\n', size);
  if (end) end_lost_line(line);
  if (end) size = (size_t)(end - text) + 1;
  count_lost(log, size, end != NULL, log->lost_error);
  return size;
}

void log_feed(struct log_file *log, struct log_line *line, const char *name, const char *text, size_t size) {
  char head[HEAD_SIZE];
  size_t head_size = make_head(head, name);
  while (size) {
    size_t fits = SHIM_MAX_LOG_LINE - line->size;
    const char *end = memchr(text, '\n', size > fits ? fits + 1 : size);
    size_t taken = end ? (size_t)(end - text) : fits;
    if (line->lost) {
      taken = drop(log, line, text, size);
    } else if (!end && size <= fits) {
      keep(log, line, text, size);
      break;
    } else {
      put_line(log, head, head_size, end ? 'F' : 'P', line, text, taken);
      taken += end != NULL;
    }
    text += taken;
    size -= taken;
  }
  if (waiting.used) flush(log, line);
  if (line->size == 0) {
    free(line->text);
    line->text = NULL;
  }
}

void log_end_line(struct log_file *log, struct log_line *line, const char *name) {
  char head[HEAD_SIZE];
  /* What no newline ended stays a piece: readers put no newline behind it, and so show the very bytes. */
  if (line->size) {
    put_line(log, head, make_head(head, name), 'P', line, "", 0);
    flush(log, line);
  }
  if (line->lost) count_lost(log, 0, 1, log->lost_error);
  line->lost = false;
  free(line->text);
  line->text = NULL;
}
