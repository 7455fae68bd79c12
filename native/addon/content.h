/* What a file holds: written, and copied. */
#ifndef BERTH_CONTENT_H
#define BERTH_CONTENT_H
#include <stddef.h>
#include <stdint.h>

/* 0 or -errno. */
int write_all(int fd, const void *data, size_t size);

/*
 * Copies the content of a file into an empty one, holes as holes; shared with the original where the file system can.
 * The bytes that are stored of it, or -errno: -EFBIG, before anything is written, if they are more than `most`.
 */
int64_t copy_content(int from, int to, int64_t most);

#endif
