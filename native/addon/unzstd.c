/* zstd, by the library that Node has in it and shows to its addons, as node:zlib uses it. */
#include <stdlib.h>
#include <zstd.h>

#include "decoding.h"

struct decoding {
  ZSTD_DCtx *context;
  bool between_frames; /* nothing of the next one was read, and one was */
};

static decoding *open_zstd(void) {
  decoding *d = malloc(sizeof *d);
  if (!d) return NULL;
  *d = (decoding){.context = ZSTD_createDCtx()};
  if (d->context) return d;
  free(d);
  return NULL;
}

static void close_zstd(decoding *d) {
  ZSTD_freeDCtx(d->context);
  free(d);
}

static const char *some_zstd(decoding *d, bytes_in *in, bytes_out *out) {
  ZSTD_inBuffer from = {in->next, in->left, 0};
  ZSTD_outBuffer to = {out->next, out->left, 0};
  /* Without input there may be more of a frame that is under way, and only of that: an empty call begins the next one. */
  bool fills = true;
  while (fills && to.pos < to.size && (from.pos < from.size || !d->between_frames)) {
    size_t read = from.pos, made = to.pos;
    size_t left = ZSTD_decompressStream(d->context, &to, &from);
    if (ZSTD_isError(left)) return ZSTD_getErrorName(left);
    d->between_frames = left == 0;
    fills = from.pos > read || to.pos > made;
  }
  *in = (bytes_in){in->next + from.pos, in->left - from.pos};
  *out = (bytes_out){out->next + to.pos, out->left - to.pos};
  return NULL;
}

static bool zstd_may_end(const decoding *d) { return d->between_frames; }

const format zstd_format = {open_zstd, some_zstd, zstd_may_end, close_zstd};
