/* Reads folders and regular files of the host, up to a bound. */
#include <sys/sysmacros.h>

#include "look.h"

static int add(int folder, const char *name, struct wire_writer *names, struct wire_writer *facts) {
  struct stat st;
  if (fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT) < 0) {
    /* It went meanwhile. ESRCH: a process' own directory. */
    return errno == ENOENT || errno == ENOTDIR || errno == ESRCH ? 0 : -errno;
  }
  const uint32_t numbers[FACTS] = {st.st_mode, st.st_uid, st.st_gid, major(st.st_rdev), minor(st.st_rdev)};
  wire_write_string(names, name);
  wire_write(facts, numbers, sizeof numbers);
  return names->bad || facts->bad ? -ENOMEM : 1;
}

int list_folder(const char *path, uint32_t most, struct wire_writer *names, struct wire_writer *facts,
                uint32_t *count) {
  int fd = open(path, O_RDONLY | O_DIRECTORY | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) return -errno;
  cleanup_dir DIR *dir = fdopendir(fd);
  if (!dir) {
    close(fd);
    return -ENOMEM;
  }
  *count = 0;
  for (uint32_t looked = 0;;) {
    errno = 0;
    const struct dirent *next = readdir(dir);
    if (!next) return -errno;
    if (is_dot(next->d_name)) continue;
    if (looked++ == most) return -EFBIG;
    int added = add(dirfd(dir), next->d_name, names, facts);
    if (added < 0) return added;
    *count += (uint32_t)added;
  }
}

/* The first open touches nothing: a FIFO would be waited for, a device would be told. */
static int open_regular(const char *path, off_t *size) {
  struct stat st;
  cleanup_fd int handle = open(path, O_PATH | O_CLOEXEC);
  if (handle < 0) return -errno;
  if (fstat(handle, &st) < 0) return -errno;
  if (!S_ISREG(st.st_mode)) return -ENOTSUP;
  *size = st.st_size;
  return open_again(handle, O_RDONLY | O_NONBLOCK | O_NOCTTY);
}

int read_regular(const char *path, uint32_t most, struct wire_writer *bytes) {
  enum { CHUNK = 65536 };
  off_t size = 0;
  cleanup_fd int fd = open_regular(path, &size);
  if (fd < 0) return fd;
  if (size > (off_t)most) return -EFBIG;
  for (;;) { /* to its end: it may grow meanwhile, and files of /proc say that they have 0 bytes */
    uint8_t *room = wire_room(bytes, CHUNK);
    if (!room) return -ENOMEM;
    ssize_t got = read(fd, room, CHUNK);
    bytes->size -= CHUNK - (size_t)(got > 0 ? got : 0);
    if (got < 0 && errno != EINTR) return -errno;
    if (got == 0) return 0;
    if (bytes->size > most) return -EFBIG;
  }
}
