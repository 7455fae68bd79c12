/* One stream of compressed bytes, decompressed as its pieces come: what each format does, behind one table. */
#ifndef BERTH_DECODING_H
#define BERTH_DECODING_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
  const uint8_t *next;
  size_t left;
} bytes_in;

typedef struct {
  uint8_t *next;
  size_t left;
} bytes_out;

/* What a format keeps of one stream; each has its own kind. */
typedef struct decoding decoding;

typedef struct {
  decoding *(*open)(void); /* NULL: no memory */
  /*
   * Takes of `in` and makes into `out` until one of them is used up; there may be more to make while `out` is full. NULL, or what
   * is wrong with the data, in words that last.
   */
  const char *(*some)(decoding *d, bytes_in *in, bytes_out *out);
  bool (*may_end)(const decoding *d); /* whether the stream may end where it is */
  void (*close)(decoding *d);
} format;

/* RFC 1952: member after member, each with its checksum, until a zero follows one, which is padding. */
extern const format gzip_format;
/* RFC 8878: frame after frame, those that are skipped too. */
extern const format zstd_format;

#endif
