/* What a process writes, captured or logged. */
#ifndef BERTH_SHIM_STREAM_H
#define BERTH_SHIM_STREAM_H
#include "log.h"
#include "loop.h"
#include "tap.h"

struct stream {
  struct source source;
  const char *name; /* stdout or stderr */
  struct log_file *log;
  struct log_file *overflow; /* where it goes on when the capture is full; NULL: it is cut off */
  struct log_line line;
  uint8_t *data;
  size_t size, capacity, limit;
  bool truncated, dropping, wide;
  struct taps taps; /* while one is behind, the stream is not read on */
  void (*closed)(void *owner);
  void *owner;
};
struct stream *stream_open(int fd, const char *name, size_t limit);
void stream_hold(struct stream *stream); /* not to be read before it is drained, released or taken */
void stream_release(struct stream *stream);
int stream_take(struct stream *stream); /* its descriptor; the stream is gone */
void stream_drain(struct stream *stream); /* what is there now, and no more than that */
void stream_to_log(struct stream *stream, struct log_file *log);
void stream_overflow_to(struct stream *stream, struct log_file *log);
bool stream_leave_log(struct stream *stream); /* true if it had overflowed there; it is captured only from now on */
void stream_free(struct stream *stream);
static inline bool stream_ended(const struct stream *stream) { return !stream || stream->source.fd < 0; }

#endif
