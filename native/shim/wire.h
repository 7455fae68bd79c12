/* Bounds-checked reading and writing of the shim protocol's fields; proto/shim.ts describes the frame. */
#ifndef BERTH_WIRE_H
#define BERTH_WIRE_H
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "numbers are copied as they lie in memory");

enum { WIRE_LENGTH = 4, WIRE_HEADER = 10 };

struct wire_bytes {
  const uint8_t *data;
  uint32_t size;
};

/* Text lies in the frame as length, bytes, NUL; `first` is the first one's text, `size` the bytes of all of them. */
struct wire_strings {
  const char *first;
  uint32_t count, size;
};

struct wire_reader {
  const uint8_t *at, *end;
  bool bad;
};

struct wire_writer {
  uint8_t *data;
  size_t size, capacity;
  bool bad; /* no memory; the frame is not to be sent */
};

/* A frame may end before a field that its writer did not know. */
static inline bool wire_absent(const struct wire_reader *from) { return from->bad || from->at == from->end; }

static inline const uint8_t *wire_take(struct wire_reader *from, size_t size) {
  if (from->bad || (size_t)(from->end - from->at) < size) {
    from->bad = true;
    return NULL;
  }
  const uint8_t *taken = from->at;
  from->at += size;
  return taken;
}

static inline uint32_t wire_read_u32(struct wire_reader *from) {
  uint32_t value = 0;
  const uint8_t *bytes = wire_absent(from) ? NULL : wire_take(from, sizeof value);
  if (bytes) memcpy(&value, bytes, sizeof value);
  return value;
}

static inline uint64_t wire_read_u64(struct wire_reader *from) {
  uint64_t value = 0;
  const uint8_t *bytes = wire_absent(from) ? NULL : wire_take(from, sizeof value);
  if (bytes) memcpy(&value, bytes, sizeof value);
  return value;
}

static inline int32_t wire_read_i32(struct wire_reader *from) { return (int32_t)wire_read_u32(from); }

static inline bool wire_read_bool(struct wire_reader *from) {
  const uint8_t *bytes = wire_absent(from) ? NULL : wire_take(from, 1);
  if (bytes && *bytes > 1) from->bad = true;
  return bytes && *bytes == 1;
}

static inline struct wire_bytes wire_read_bytes(struct wire_reader *from) {
  struct wire_bytes value = {.size = wire_read_u32(from)};
  value.data = wire_take(from, value.size);
  if (!value.data) value.size = 0;
  return value;
}

/* Never NULL; the text of a frame that turned out bad is empty. A NUL inside would cut a path or argument short. */
static inline const char *wire_read_string(struct wire_reader *from) {
  if (wire_absent(from)) return "";
  uint32_t size = wire_read_u32(from);
  const char *text = (const char *)wire_take(from, (size_t)size + 1);
  if (text && strnlen(text, (size_t)size + 1) == size) return text;
  from->bad = true;
  return "";
}

static inline struct wire_strings wire_read_strings(struct wire_reader *from) {
  struct wire_strings value = {.count = wire_read_u32(from)};
  const uint8_t *start = from->at;
  for (uint32_t i = 0; i < value.count && !from->bad; i++) {
    if (from->at == from->end) from->bad = true;
    const char *text = wire_read_string(from);
    if (i == 0) value.first = text;
  }
  value.size = (uint32_t)(from->at - start);
  if (from->bad) value = (struct wire_strings){0};
  return value;
}

/* The text after `text` in the same list. */
static inline const char *wire_next(const char *text) { return text + strlen(text) + 1 + sizeof(uint32_t); }

static inline uint8_t *wire_room(struct wire_writer *to, size_t size) {
  if (to->capacity - to->size < size) {
    size_t capacity = to->size + size + (to->capacity ? to->capacity : 128);
    uint8_t *data = to->bad || capacity < size ? NULL : realloc(to->data, capacity);
    if (!data) {
      to->bad = true;
      return NULL;
    }
    to->data = data;
    to->capacity = capacity;
  }
  uint8_t *room = to->data + to->size;
  to->size += size;
  return room;
}

static inline void wire_write(struct wire_writer *to, const void *data, size_t size) {
  uint8_t *room = wire_room(to, size);
  if (room && size) memcpy(room, data, size);
}

static inline void wire_write_u32(struct wire_writer *to, uint32_t value) { wire_write(to, &value, sizeof value); }
static inline void wire_write_u64(struct wire_writer *to, uint64_t value) { wire_write(to, &value, sizeof value); }
static inline void wire_write_i32(struct wire_writer *to, int32_t value) { wire_write(to, &value, sizeof value); }
static inline void wire_write_bool(struct wire_writer *to, bool value) { wire_write(to, &(uint8_t){value}, 1); }

static inline void wire_write_bytes(struct wire_writer *to, struct wire_bytes value) {
  wire_write_u32(to, value.size);
  wire_write(to, value.data, value.size);
}

static inline void wire_write_string(struct wire_writer *to, const char *text) {
  uint32_t size = (uint32_t)strlen(text);
  wire_write_u32(to, size);
  wire_write(to, text, (size_t)size + 1);
}

static inline void wire_write_strings(struct wire_writer *to, struct wire_strings value) {
  wire_write_u32(to, value.count);
  if (value.count) wire_write(to, value.first - sizeof(uint32_t), value.size);
}

static inline struct wire_writer wire_begin(uint16_t type, uint32_t request) {
  struct wire_writer to = {0};
  wire_write_u32(&to, 0);
  wire_write(&to, &type, sizeof type);
  wire_write_u32(&to, request);
  return to;
}

/* Fills in the length. False if there was no memory for the frame, which is then freed. */
static inline bool wire_end(struct wire_writer *to) {
  uint32_t length = (uint32_t)(to->size - WIRE_LENGTH);
  if (to->bad) {
    free(to->data);
    to->data = NULL;
  } else {
    memcpy(to->data, &length, sizeof length);
  }
  return !to->bad;
}
#endif
