/* Makes folders of the host: a path, or one below a top through no link. */
#include "look.h"

/* Opens, or makes, one directory that is no link. The mode is as asked for, whatever lists its parent gives it. */
static int enter_folder(int parent, const char *name, mode_t mode) {
  bool made = mkdirat(parent, name, mode) == 0;
  if (!made && errno != EEXIST) return -errno;
  int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return -errno;
  if (made && fchmod(fd, mode) < 0) {
    int err = -errno;
    close(fd);
    return err;
  }
  return fd;
}

int make_below(const char *top, char *path, mode_t mode) {
  int at = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (at < 0) return -errno;
  char *rest = path, *name;
  while ((name = strsep(&rest, "/"))) {
    int next = *name && !is_dot(name) ? enter_folder(at, name, mode) : -EINVAL;
    close(at);
    if (next < 0) return next;
    at = next;
  }
  close(at);
  return 0;
}

/* Others may write to what is above it: a link that they put in its place must not give its mode to what it leads to. */
static int make_one(const char *path, mode_t mode) {
  if (mkdir(path, mode) < 0) return -errno;
  cleanup_fd int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  return fd < 0 || fchmod(fd, mode) < 0 ? -errno : 0;
}

static int must_be_folder(const char *path) {
  struct stat st;
  if (stat(path, &st) < 0) return -errno;
  return S_ISDIR(st.st_mode) ? 0 : -EEXIST;
}

/* The last first, as most of the way is there: a directory above may be one that only a client of its file server sees. */
int make_path(char *path, mode_t mode) {
  size_t size = strlen(path), cut = size;
  int err;
  while ((err = make_one(path, mode)) == -ENOENT) {
    while (cut > 0 && path[cut - 1] != '/') cut--;
    while (cut > 0 && path[cut - 1] == '/') cut--;
    if (cut == 0) return -ENOENT;
    path[cut] = 0;
  }
  while (cut < size && (err == 0 || err == -EEXIST)) {
    path[cut] = '/';
    cut += strlen(path + cut);
    err = make_one(path, mode);
  }
  return err == -EEXIST ? must_be_folder(path) : err;
}
