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

/* A round through a tree. `more`: something moved up to `top`, or is new. */
struct round {
  int top;
  uint64_t serial;
  bool more;
};

/* So far it is gone down. Names are made for what is deeper only: a disk may be so full, or so ill, that it takes none. */
enum { DEEPEST = 32 };

static int empty_directory(struct round *round, int parent, const char *name, int depth);

/* What is in a directory that is not empty goes first, or moves up for a later round. */
static int remove_full(struct round *round, int parent, const char *name, int depth) {
  if (depth == DEEPEST) {
    round->more = true;
    return move_up(parent, name, round->top, &round->serial);
  }
  int err = empty_directory(round, parent, name, depth + 1);
  if (err < 0 && !changed(err)) return err;
  err = remove_name(parent, name);
  if (err > 0) round->more = true;
  return err < 0 ? err : 0;
}

static int empty_directory(struct round *round, int parent, const char *name, int depth) {
  cleanup_dir DIR *dir = NULL;
  int err = open_directory(parent, name, &dir);
  if (err < 0) return err;
  struct dirent *entry;
  while ((errno = 0, entry = readdir(dir))) {
    if (is_dot(entry->d_name)) continue;
    err = remove_name(dirfd(dir), entry->d_name);
    if (err > 0) err = remove_full(round, dirfd(dir), entry->d_name, depth);
    if (err < 0) return err;
  }
  return -errno;
}

/*
 * A container may nest directories deeper than any path, stack or descriptor table reaches: what is too deep becomes a
 * child of the tree's top itself, and the next round goes down from there.
 */
static int empty_tree(int top) {
  struct round round = {.top = top};
  for (;;) {
    round.more = false;
    int err = empty_directory(&round, top, ".", 0);
    if (err < 0 || !round.more) return err;
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
