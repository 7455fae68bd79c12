/* gzip. ISA-L does the work, but for the headers of members. */
#include <isa-l/igzip_lib.h>
#include <stdlib.h>

#include "decoding.h"
#include "gzip.h"

typedef enum { IN_HEADER, IN_MEMBER, BETWEEN_MEMBERS, IN_PADDING } phase;

struct decoding {
  gzip_header header;
  phase phase;
  struct inflate_state state; /* a hundred kilobytes */
};

/* In the words of node:zlib. */
static const char bad_header[] = "incorrect header", bad_data[] = "invalid data",
                  bad_checksum[] = "incorrect data check";

/* Whether there is more to do with what is there. */
typedef enum { WAIT, GO_ON } progress;

static decoding *open_gzip(void) {
  decoding *d = malloc(sizeof *d); /* the state is not cleared whole: of small layers that would be most of the work */
  if (!d) return NULL;
  d->header = (gzip_header){0};
  d->phase = IN_HEADER;
  isal_inflate_init(&d->state);
  d->state.crc_flag = ISAL_GZIP_NO_HDR_VER;
  return d;
}

static void close_gzip(decoding *d) { free(d); }

static progress begin_member(decoding *d, const char **problem) {
  int found = take_gzip_header(&d->header, &d->state.next_in, &d->state.avail_in);
  if (found < 0) *problem = bad_header;
  if (found <= 0) return WAIT;
  isal_inflate_reset(&d->state);
  d->phase = IN_MEMBER;
  return GO_ON;
}

static progress inflate_member(decoding *d, const char **problem) {
  struct inflate_state *s = &d->state;
  uint32_t in = s->avail_in, out = s->avail_out;
  int err = isal_inflate(s);
  if (err < 0) {
    *problem = err == ISAL_INCORRECT_CHECKSUM ? bad_checksum : bad_data;
    return WAIT;
  }
  if (s->block_state == ISAL_BLOCK_FINISH) {
    d->phase = BETWEEN_MEMBERS;
    return GO_ON;
  }
  if (s->avail_out == 0) return WAIT;
  if (in > 0 && s->avail_in == in && s->avail_out == out) *problem = bad_data; /* it would stand still for ever */
  return s->avail_in > 0 && !*problem ? GO_ON : WAIT;
}

static progress after_member(decoding *d) {
  if (d->state.avail_in == 0) return WAIT;
  d->header = (gzip_header){0};
  d->phase = *d->state.next_in == 0 ? IN_PADDING : IN_HEADER;
  return GO_ON;
}

static progress go_on(decoding *d, const char **problem) {
  switch (d->phase) {
    case IN_HEADER: return begin_member(d, problem);
    case IN_MEMBER: return inflate_member(d, problem);
    case BETWEEN_MEMBERS: return after_member(d);
    case IN_PADDING: d->state.avail_in = 0; return WAIT;
  }
  return WAIT;
}

static const char *some_gzip(decoding *d, bytes_in *in, bytes_out *out) {
  const char *problem = NULL;
  struct inflate_state *s = &d->state;
  s->next_in = (uint8_t *)in->next; /* which it only reads */
  s->avail_in = (uint32_t)in->left;
  s->next_out = out->next;
  s->avail_out = (uint32_t)out->left;
  while (go_on(d, &problem) == GO_ON) {}
  *in = (bytes_in){s->next_in, s->avail_in};
  *out = (bytes_out){s->next_out, s->avail_out};
  return problem;
}

static bool gzip_may_end(const decoding *d) { return d->phase >= BETWEEN_MEMBERS; }

const format gzip_format = {open_gzip, some_gzip, gzip_may_end, close_gzip};
