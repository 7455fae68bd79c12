/* The headers of gzip's members (RFC 1952), read as they come: ISA-L wants a whole header in one piece. */
#include "gzip.h"

#include <isa-l/crc.h>
#include <stdbool.h>

enum { FIXED_BYTES = 10, FLAGS_AT = 3, RESERVED_FLAGS = 0xe0 };
static const uint8_t begin[FLAGS_AT] = {0x1f, 0x8b, 8}; /* two bytes of magic, and deflate, which is all there is */

/* The flag without which a part is not there. */
static const uint8_t flag_of[GZIP_DONE] = {
    [GZIP_EXTRA_LENGTH] = 4, [GZIP_EXTRA] = 4, [GZIP_NAME] = 8, [GZIP_COMMENT] = 16, [GZIP_CHECK] = 2};

static void next_part(gzip_header *h) {
  do h->part++;
  while (h->part < GZIP_DONE && !(h->flags & flag_of[h->part]));
  h->count = 0;
}

static bool take_fixed(gzip_header *h, uint8_t byte) {
  uint32_t at = h->count++;
  if (at < FLAGS_AT) return byte == begin[at];
  if (at == FLAGS_AT) h->flags = byte;
  if (at == FIXED_BYTES - 1) next_part(h);
  return !(h->flags & RESERVED_FLAGS);
}

static void take_extra_length(gzip_header *h, uint8_t byte) {
  h->extra = (uint16_t)(h->extra | byte << 8 * h->count++);
  if (h->count < 2) return;
  next_part(h);
  if (h->extra == 0) next_part(h);
}

static bool take_check(gzip_header *h, uint8_t byte) {
  bool same = byte == (uint8_t)(h->crc >> 8 * h->count++);
  if (h->count == 2) next_part(h);
  return same;
}

static bool take(gzip_header *h, uint8_t byte) {
  if (h->part == GZIP_CHECK) return take_check(h, byte);
  h->crc = crc32_gzip_refl(h->crc, &byte, 1);
  if (h->part == GZIP_FIXED) return take_fixed(h, byte);
  if (h->part == GZIP_EXTRA_LENGTH) take_extra_length(h, byte);
  else if (h->part == GZIP_EXTRA ? ++h->count == h->extra : byte == 0) next_part(h);
  return true;
}

int take_gzip_header(gzip_header *header, uint8_t **next, uint32_t *left) {
  while (header->part<GZIP_DONE && * left> 0) {
    if (!take(header, **next)) return -1;
    ++*next;
    --*left;
  }
  return header->part == GZIP_DONE;
}
