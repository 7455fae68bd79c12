/* Owner, mode, times and extended attributes: of what an archive has, and of what lies on the disk. */
#include "attributes.h"

#include <stdio.h>
#include <sys/vfs.h>
#include <sys/xattr.h>

#include "held.h"

/* File systems say ENOSPC of more than they take for one file (ext4: a block), however much room they have. */
static int xattr_error(int fd) {
  struct statfs fs;
  if (errno == ENOSPC && fstatfs(fd, &fs) == 0 && (uint64_t)fs.f_bfree * (uint64_t)fs.f_bsize > 2 * XATTRS_MAX)
    return -E2BIG;
  return -errno;
}

/* Packed xattrs are records of: name, NUL, value length (4 bytes, little-endian), value. */
int apply_xattrs(const attributes *a, int fd, const char *path) {
  for (size_t at = 0; at < a->xattrs_length;) {
    const char *name = (const char *)a->xattrs + at;
    const char *end = memchr(name, 0, a->xattrs_length - at);
    if (!end) return -EINVAL;
    at += (size_t)(end - name) + 1;
    uint32_t size;
    if (a->xattrs_length - at < sizeof size) return -EINVAL;
    memcpy(&size, a->xattrs + at, sizeof size);
    at += sizeof size;
    if (size > a->xattrs_length - at) return -EINVAL;
    int err = path ? lsetxattr(path, name, a->xattrs + at, size, 0) : fsetxattr(fd, name, a->xattrs + at, size, 0);
    /* ENOTSUP: this filesystem has no such attributes, and the tree is usable without. */
    if (err < 0 && errno != ENOTSUP) return xattr_error(fd);
    at += size;
  }
  return 0;
}

/* overlayfs' notes and the host's label: no archive gives them, and none takes them. */
static bool is_kept(const char *name) {
  return strncmp(name, "trusted.overlay.", 16) == 0 || strcmp(name, "security.selinux") == 0;
}

int clear_xattrs(int fd) {
  char names[65536];
  ssize_t length = flistxattr(fd, names, sizeof names);
  if (length < 0) return errno == ENOTSUP ? 0 : -errno;
  for (const char *name = names; name < names + length; name += strlen(name) + 1)
    if (!is_kept(name) && fremovexattr(fd, name) < 0 && errno != ENODATA && errno != ENOTSUP) return -errno;
  return 0;
}

/*
 * chown clears set-id bits and file capabilities, so it comes first; reading and writing change times: those last. What is there
 * already is not set again: each is a change of the inode, and a look is none.
 */
int apply_attributes(int fd, const attributes *a) {
  struct stat st;
  if (fstat(fd, &st) < 0) return -errno;
  bool moves = st.st_uid != a->uid || st.st_gid != a->gid;
  if (moves && fchown(fd, a->uid, a->gid) < 0) return -errno;
  if ((moves || (st.st_mode & 07777) != a->mode) && fchmod(fd, a->mode) < 0) return -errno;
  int err = apply_xattrs(a, fd, NULL);
  if (err < 0) return err;
  return futimens(fd, a->times) < 0 ? -errno : 0;
}

int apply_attributes_at(int parent, const char *base, const attributes *a, bool link) {
  if (fchownat(parent, base, a->uid, a->gid, AT_SYMLINK_NOFOLLOW) < 0) return -errno;
  if (!link && fchmodat(parent, base, a->mode, 0) < 0) return -errno;
  if (a->xattrs_length) {
    char path[PATH_MAX];
    if ((size_t)snprintf(path, sizeof path, "/proc/self/fd/%d/%s", parent, base) >= sizeof path) return -ENAMETOOLONG;
    int err = apply_xattrs(a, parent, path);
    if (err < 0) return err;
  }
  return utimensat(parent, base, a->times, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

int pack_xattr(const char *path, const char *name, uint8_t *packed, size_t *used) {
  size_t head = strlen(name) + 1 + sizeof(uint32_t);
  if (XATTRS_MAX - *used < head) return -E2BIG;
  ssize_t size = lgetxattr(path, name, packed + *used + head, XATTRS_MAX - *used - head);
  if (size < 0) return errno == ERANGE ? -E2BIG : -errno;
  uint32_t length = (uint32_t)size;
  memcpy(packed + *used, name, strlen(name) + 1);
  memcpy(packed + *used + strlen(name) + 1, &length, sizeof length);
  *used += head + (size_t)size;
  return 0;
}

int copy_attributes(int from, int to) {
  struct stat st;
  if (fstat(from, &st) < 0 || fchown(to, st.st_uid, st.st_gid) < 0 || fchmod(to, st.st_mode & 07777) < 0) return -errno;
  char names[65536], value[65536];
  ssize_t length = flistxattr(from, names, sizeof names);
  if (length < 0 && errno != ENOTSUP) return -errno;
  for (const char *name = names; length > 0 && name < names + length; name += strlen(name) + 1) {
    if (strncmp(name, "trusted.overlay.", 16) == 0) continue; /* overlayfs' own notes belong to one layer */
    ssize_t size = fgetxattr(from, name, value, sizeof value);
    if (size < 0 && errno == ENODATA) continue;
    if (size < 0) return -errno;
    if (fsetxattr(to, name, value, (size_t)size, 0) < 0 && errno != ENOTSUP) return -errno;
  }
  const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, st.st_mtim};
  return futimens(to, times) < 0 ? -errno : 0;
}
