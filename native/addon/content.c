/* What a file holds: written, and copied. */
#include "content.h"

#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>

#include "held.h"

int write_all(int fd, const void *data, size_t size) {
  for (const char *at = data; size > 0;) {
    ssize_t wrote = write(fd, at, size);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) return -errno;
    at += wrote;
    size -= (size_t)wrote;
  }
  return 0;
}

/* The next piece that is stored, from `at` on; 0 if there is none. lseek(2): a file system that knows no holes has none. */
static int next_piece(int fd, off_t at, off_t *start, off_t *end) {
  *start = lseek(fd, at, SEEK_DATA);
  if (*start < 0) return errno == ENXIO ? 0 : -errno;
  *end = lseek(fd, *start, SEEK_HOLE);
  if (*end < 0) return errno == ENXIO ? 0 : -errno;
  return *end > *start;
}

/* copy_file_range(2) is refused between some file systems. 0 at the end of a file that became shorter. */
static ssize_t copy_some(int from, int to, off_t at, size_t size) {
  off_t in = at, out = at;
  ssize_t moved = copy_file_range(from, &in, to, &out, size, 0);
  if (moved >= 0 || (errno != EXDEV && errno != EINVAL && errno != EOPNOTSUPP && errno != ENOSYS)) return moved;
  return lseek(to, at, SEEK_SET) < 0 ? -1 : sendfile(to, from, &in, size);
}

static int copy_piece(int from, int to, off_t start, off_t end) {
  while (start < end) {
    ssize_t moved = copy_some(from, to, start, (size_t)(end - start > 1 << 30 ? 1 << 30 : end - start));
    if (moved < 0 && errno == EINTR) continue;
    if (moved < 0) return -errno;
    if (moved == 0) return 0;
    start += moved;
  }
  return 0;
}

static int64_t stored_bytes(int fd) {
  off_t start = 0, end = 0;
  int64_t sum = 0;
  int found;
  while ((found = next_piece(fd, end, &start, &end)) > 0) sum += end - start;
  return found < 0 ? found : sum;
}

static int copy_pieces(int from, int to) {
  struct stat st;
  off_t start = 0, end = 0;
  int found;
  while ((found = next_piece(from, end, &start, &end)) > 0) {
    int err = copy_piece(from, to, start, end);
    if (err < 0) return err;
  }
  if (found < 0) return found;
  return fstat(from, &st) < 0 || ftruncate(to, st.st_size) < 0 ? -errno : 0; /* a hole at its end */
}

int64_t copy_content(int from, int to, int64_t most) {
  int64_t stored = stored_bytes(from);
  if (stored < 0) return stored;
  if (stored > most) return -EFBIG;
  if (ioctl(to, FICLONE, from) == 0) return stored;
  int err = copy_pieces(from, to);
  return err < 0 ? err : stored;
}
