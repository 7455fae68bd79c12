/* Reads frames in hexadecimal, one a line, and writes each as C reads it and writes it again: `malformed` for one that
   does not parse, `unknown` for one without a reader. Built for the tests only. */
#include <stdio.h>

#include "../protocol.h"

static size_t from_hex(const char *text, uint8_t *bytes, size_t capacity) {
  size_t size = 0;
  unsigned value;
  while (size < capacity && sscanf(text + 2 * size, "%2x", &value) == 1) bytes[size++] = (uint8_t)value;
  return size;
}

static void answer(const uint8_t *frame, size_t size) {
  uint32_t length, request;
  uint16_t type;
  if (size < WIRE_HEADER || (memcpy(&length, frame, sizeof length), length != size - WIRE_LENGTH)) {
    puts("malformed");
    return;
  }
  memcpy(&type, frame + 4, sizeof type);
  memcpy(&request, frame + 6, sizeof request);
  struct wire_reader from = {.at = frame + WIRE_HEADER, .end = frame + size};
  struct wire_writer to = wire_begin(type, request);
  bool known = true;
  switch (type) {
#define AGAIN(message, MESSAGE) \
  case SHIM_##MESSAGE: { \
    struct shim_##message value; \
    if (shim_read_##message(&from, &value)) shim_write_##message(&to, &value); \
    break; \
  }
    SHIM_MESSAGES(AGAIN)
    case SHIM_LIST:
    case SHIM_DONE:
    case SHIM_LOOK_GOES_ON: break;
    default: known = false;
  }
  if (!known) {
    puts("unknown");
  } else if (from.bad) {
    puts("malformed");
  } else if (wire_end(&to)) {
    for (size_t i = 0; i < to.size; i++) printf("%02x", to.data[i]);
    puts("");
  }
  free(to.data);
}

int main(void) {
  static char line[65536];
  while (fgets(line, sizeof line, stdin)) {
    /* Exactly as large as the frame, so that a sanitizer sees a read beyond it. */
    size_t size = strspn(line, "0123456789abcdef") / 2;
    uint8_t *frame = malloc(size ? size : 1);
    if (!frame) return 1;
    answer(frame, from_hex(line, frame, size));
    free(frame);
    fflush(stdout);
  }
  return 0;
}
