/* The headers of gzip's members (RFC 1952), read as they come. */
#ifndef BERTH_GZIP_H
#define BERTH_GZIP_H
#include <stdint.h>

typedef enum { GZIP_FIXED, GZIP_EXTRA_LENGTH, GZIP_EXTRA, GZIP_NAME, GZIP_COMMENT, GZIP_CHECK, GZIP_DONE } gzip_part;

/* All zeros: nothing of the header was seen. */
typedef struct {
  gzip_part part;
  uint8_t flags;
  uint16_t extra; /* length of the extra field */
  uint32_t count; /* bytes of the part under way that were seen */
  uint32_t crc; /* of the header so far */
} gzip_header;

/* Takes what belongs to the header. 1: that was all of it, 0: there is more to come, -1: it is none. */
int take_gzip_header(gzip_header *header, uint8_t **next, uint32_t *left);

#endif
