/* Removes whole trees. Only names in open directories are removed: no link is followed, and no mount is entered. */
#include "remove.h"

#include <stdio.h>

#include "held.h"
#include "root.h"

/* A directory to be read; -EBUSY, as rmdir(2) says, for what is mounted. */
static int open_directory(int parent, const char *name, DIR **dir) {
  int fd = open_child(parent, name, O_RDONLY | O_DIRECTORY, false);
  if (fd < 0) return fd == -EXDEV ? -EBUSY : fd;
  *dir = fdopendir(fd);
  if (*dir) return 0;
  close_fd(&fd);
  return -ENOMEM;
}

/* Gone already, or made another kind of thing: whoever does that now is met again in the next round, or at the end. */
static bool changed(int err) { return err == -ENOENT || err == -ENOTDIR || err == -ELOOP || err == -EISDIR; }

/* Moves a directory up to `top` under a name nobody has there. */
static int move_up(int parent, const char *name, int top, uint64_t *serial) {
  for (;;) {
    char moved[48];
    snprintf(moved, sizeof moved, ".remove-%llu", (unsigned long long)(*serial)++);
    if (renameat2(parent, name, top, moved, 1 /* RENAME_NOREPLACE */) == 0 || errno == ENOENT) return 0;
    if (errno != EEXIST) return -errno;
  }
}

/* Removes a name with nothing below it: 1 if there is something. */
static int remove_name(int parent, const char *name) {
  if (unlinkat(parent, name, 0) == 0 || errno == ENOENT) return 0;
  if (errno != EISDIR) return -errno;
  if (unlinkat(parent, name, AT_REMOVEDIR) == 0 || errno == ENOENT) return 0;
  return errno == ENOTEMPTY || errno == EEXIST || errno == ENOTDIR ? 1 : -errno;
}

/* Empties a directory below `top`; sub-directories with something in them move up into `top`, for a later round. */
static int empty_directory(int top, const char *name, uint64_t *serial, bool *more) {
  cleanup_dir DIR *dir = NULL;
  int err = open_directory(top, name, &dir);
  if (err < 0) return err;
  bool itself = strcmp(name, ".") == 0;
  struct dirent *entry;
  while ((errno = 0, entry = readdir(dir))) {
    if (is_dot(entry->d_name)) continue;
    err = remove_name(dirfd(dir), entry->d_name);
    if (err < 0) return err;
    if (err == 0) continue;
    *more = true;
    if (!itself) err = move_up(dirfd(dir), entry->d_name, top, serial);
    if (err < 0) return err;
  }
  return -errno;
}

/* One round: empties the children of the tree's top. */
static int empty_children(int top, uint64_t *serial, bool *more) {
  cleanup_dir DIR *dir = NULL;
  int err = open_directory(top, ".", &dir);
  if (err < 0) return err;
  struct dirent *entry;
  while ((errno = 0, entry = readdir(dir))) {
    if (is_dot(entry->d_name)) continue;
    err = empty_directory(top, entry->d_name, serial, more);
    if (err < 0 && !changed(err)) return err;
    err = remove_name(top, entry->d_name);
    if (err < 0) return err;
  }
  return -errno;
}

/*
 * A container may nest directories deeper than any path or descriptor table reaches, so nothing here recurses: each
 * round empties the children of the tree's top, and what they hold becomes a child of the top itself.
 */
static int empty_tree(int top) {
  uint64_t serial = 0;
  for (;;) {
    bool more = false;
    int err = empty_directory(top, ".", &serial, &more);
    if (err == 0 && more) err = empty_children(top, &serial, &more);
    if (err < 0 || !more) return err;
  }
}

int remove_tree(int parent, const char *name) {
  if (unlinkat(parent, name, 0) == 0 || errno == ENOENT) return 0;
  if (errno != EISDIR) return -errno;
  cleanup_fd int top = open_child(parent, name, O_RDONLY | O_DIRECTORY, false);
  if (top < 0) return top == -EXDEV ? -EBUSY : top;
  int err = empty_tree(top);
  if (err < 0) return err;
  return unlinkat(parent, name, AT_REMOVEDIR) < 0 && errno != ENOENT ? -errno : 0;
}

int remove_path(const char *path) {
  const char *slash = strrchr(path, '/');
  if (!slash) return remove_tree(AT_FDCWD, path);
  char folder[PATH_MAX];
  size_t length = slash == path ? 1 : (size_t)(slash - path);
  if (length >= sizeof folder) return -ENAMETOOLONG;
  memcpy(folder, path, length);
  folder[length] = 0;
  cleanup_fd int parent = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (parent < 0) return errno == ENOENT ? 0 : -errno;
  return remove_tree(parent, slash + 1);
}
