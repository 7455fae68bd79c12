/* What a process writes: read here, and captured, logged and copied to taps. */
#include "stream.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "client.h"

/* What all captures of a shim hold together, with what waits for its clients: two whole results, whatever runs at once. It is
   less than may wait for one client (client.c), so that no answer of a command ends a connection. */
static const size_t capture_budget = (size_t)4 * SHIM_MAX_CAPTURE;
static size_t captured;
enum {
  PAGE = 4096,
  COOL_MS = 5000,
  CHUNK = 65536,
  WIDE_PIPE = 1048576,
  CHUNKS_A_TURN = 8,
  DRAIN_CHUNKS = WIDE_PIPE / CHUNK
};
/* Where every stream is read to; empty whenever the loop turns. */
static _Alignas(PAGE) char chunk[CHUNK];
static struct timer cooling;

/* After a burst the pages of the shared buffers go back: most pods are quiet most of the time. */
static void cool(struct timer *timer) {
  (void)timer;
  madvise(chunk, sizeof chunk, MADV_DONTNEED);
  log_cool();
}

/* More than an OCI runtime says of itself: the container writes already, though its runtime was not reaped yet. What is
   captured stays for the answer, should the runtime fail after all; the log is then taken back. */
static void overflow(struct stream *stream, size_t size) {
  stream->log = stream->overflow;
  log_feed(stream->log, &stream->line, stream->name, (char *)stream->data, stream->size);
  log_feed(stream->log, &stream->line, stream->name, chunk, size);
}

/* Room for `size` bytes more if the stream and the shim may hold them. What was captured is held until its client has read
   it. */
static bool grow_capture(struct stream *stream, size_t size) {
  size_t wanted = stream->size + size;
  if (wanted <= stream->capacity) return true;
  size_t capacity = stream->capacity ? stream->capacity * 2 : 4096;
  if (capacity < wanted) capacity = wanted;
  if (capacity > stream->limit) capacity = stream->limit;
  size_t more = capacity - stream->capacity;
  bool fits = captured + clients_waiting() + more <= capture_budget;
  uint8_t *data = fits ? realloc(stream->data, capacity) : NULL;
  if (!data) return false;
  captured += more;
  stream->data = data;
  stream->capacity = capacity;
  return true;
}

static void free_capture(struct stream *stream) {
  captured -= stream->capacity;
  free(stream->data);
  stream->data = NULL;
  stream->size = stream->capacity = 0;
}

static void capture(struct stream *stream, size_t size) {
  size_t room = stream->limit - stream->size;
  if (size > room) {
    if (stream->overflow) overflow(stream, size);
    size = room;
    stream->truncated = true;
  }
  if (!grow_capture(stream, size)) {
    if (stream->overflow && !stream->log) overflow(stream, size);
    stream->truncated = true;
    return;
  }
  if (size) memcpy(stream->data + stream->size, chunk, size);
  stream->size += size;
}

/* Reads at most this many chunks, none while a tap is behind if `patient`. False once the stream has ended; it is then
   closed. */
static bool pull(struct stream *stream, int chunks, bool patient) {
  while (chunks-- > 0 && !(patient && stream->taps.stalled)) {
    ssize_t got = read(stream->source.fd, chunk, sizeof chunk);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) return true;
    if (got <= 0) { /* EIO is how a terminal's master says that nobody holds the other side */
      if (stream->log) log_end_line(stream->log, &stream->line, stream->name);
      taps_end(&stream->taps, false);
      source_close(&stream->source);
      return false;
    }
    if (got > PAGE && !cooling.at) timer_arm(&cooling, COOL_MS, cool);
    if (stream->log) log_feed(stream->log, &stream->line, stream->name, chunk, (size_t)got);
    else if (!stream->dropping) capture(stream, (size_t)got);
    if (stream->taps.first) taps_feed(&stream->taps, chunk, (size_t)got);
    /* A busy writer then waits for us less often; refused (the user's limit) it stays as it is. */
    if (got == CHUNK && !stream->wide) {
      stream->wide = true;
      fcntl(stream->source.fd, F_SETPIPE_SZ, WIDE_PIPE);
    }
  }
  return true;
}

static void stream_ready(struct source *source) {
  struct stream *stream = container_of(source, struct stream, source);
  if (!pull(stream, CHUNKS_A_TURN, true) && stream->closed) stream->closed(stream->owner);
}

static void taps_flow(struct taps *taps, bool on) {
  struct stream *stream = container_of(taps, struct stream, taps);
  if (on) stream_release(stream);
  else stream_hold(stream);
}

struct stream *stream_open(int fd, const char *name, size_t limit) {
  struct stream *stream = calloc(1, sizeof *stream);
  if (!stream || fcntl(fd, F_SETFL, O_NONBLOCK) < 0 || source_open(&stream->source, fd, POLLIN, stream_ready)) {
    free(stream);
    close(fd);
    return NULL;
  }
  stream->name = name;
  stream->taps.flow = taps_flow;
  stream->limit = limit < SHIM_MAX_CAPTURE ? limit : SHIM_MAX_CAPTURE;
  return stream;
}

void stream_hold(struct stream *stream) { stream->source.events = 0; }

void stream_release(struct stream *stream) { stream->source.events = POLLIN; }

int stream_take(struct stream *stream) {
  int fd = fcntl(stream->source.fd, F_DUPFD_CLOEXEC, 3);
  stream_free(stream);
  return fd < 0 ? -errno : fd;
}

void stream_drain(struct stream *stream) {
  if (!stream_ended(stream)) pull(stream, DRAIN_CHUNKS, false);
}

void stream_overflow_to(struct stream *stream, struct log_file *log) { stream->overflow = log->fd < 0 ? NULL : log; }

bool stream_leave_log(struct stream *stream) {
  bool logged = stream && stream->log;
  if (logged) stream->log = NULL;
  return logged;
}

void stream_to_log(struct stream *stream, struct log_file *log) {
  if (log->fd >= 0 && !stream->log) {
    stream->log = log;
    if (stream->size) log_feed(log, &stream->line, stream->name, (char *)stream->data, stream->size);
    if (stream_ended(stream)) log_end_line(log, &stream->line, stream->name);
  }
  stream->dropping = log->fd < 0;
  free_capture(stream);
}

void stream_free(struct stream *stream) {
  if (!stream) return;
  if (stream->log) log_end_line(stream->log, &stream->line, stream->name);
  taps_end(&stream->taps, true);
  source_close(&stream->source);
  free(stream->line.text);
  free_capture(stream);
  free(stream);
}
