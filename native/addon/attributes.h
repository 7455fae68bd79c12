/* Owner, mode, times and extended attributes: of what an archive has, and of what lies on the disk. */
#ifndef BERTH_ATTRIBUTES_H
#define BERTH_ATTRIBUTES_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

/* The longest xattr value the kernel takes is 64 KiB; a handful of them fit. */
#define XATTRS_MAX (1024u * 1024u)

/* What an entry says beside its content. */
typedef struct {
  uint32_t mode, uid, gid;
  struct timespec times[2];
  const uint8_t *xattrs;
  size_t xattrs_length;
} attributes;

/* All return 0 or -errno. */

int apply_attributes(int fd, const attributes *a);

/* The same for what cannot be opened: symbolic links, devices, FIFOs. */
int apply_attributes_at(int parent, const char *base, const attributes *a, bool link);

/* The packed xattrs alone, of a descriptor or, if there is one, a path on its file system. -E2BIG: more than that takes for a file. */
int apply_xattrs(const attributes *a, int fd, const char *path);

/* Removes all that an archive may give. */
int clear_xattrs(int fd);

/* Appends one xattr of `path` to those in `packed`, which holds XATTRS_MAX bytes. */
int pack_xattr(const char *path, const char *name, uint8_t *packed, size_t *used);

/* Copies owner, mode, extended attributes (but overlayfs' own) and modification time. */
int copy_attributes(int from, int to);

#endif
