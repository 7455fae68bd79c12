/* Whole trees, off the caller's thread: remove one, measure one, write a filesystem back. */
#include <stdio.h>
#include <sys/syscall.h>

#include "work.h"

static DIR *open_directory(int parent, const char *name) {
  int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return NULL;
  DIR *dir = fdopendir(fd);
  if (!dir) close_fd(&fd);
  return dir;
}

/* Moves a directory up to `top` under a name nobody has there. */
static int move_up(int parent, const char *name, int top, uint64_t *serial) {
  for (;;) {
    char moved[48];
    snprintf(moved, sizeof moved, ".remove-%llu", (unsigned long long)(*serial)++);
    if (syscall(SYS_renameat2, parent, name, top, moved, 1 /* RENAME_NOREPLACE */) == 0) return 0;
    if (errno != EEXIST) return -errno;
  }
}

/* Empties a directory below `top`; sub-directories with something in them move up into `top`, for a later round. */
static int empty_directory(int top, const char *name, uint64_t *serial, bool *more) {
  cleanup_dir DIR *dir = open_directory(top, name);
  if (!dir) return -errno;
  bool itself = strcmp(name, ".") == 0;
  struct dirent *entry;
  while ((errno = 0, entry = readdir(dir))) {
    if (is_dot(entry->d_name)) continue;
    if (unlinkat(dirfd(dir), entry->d_name, 0) == 0) continue;
    if (errno != EISDIR) return -errno;
    if (unlinkat(dirfd(dir), entry->d_name, AT_REMOVEDIR) == 0) continue;
    if (errno != ENOTEMPTY && errno != EEXIST) return -errno;
    *more = true;
    if (itself) continue;
    int err = move_up(dirfd(dir), entry->d_name, top, serial);
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
  for (bool more = true; more;) {
    more = false;
    int err = empty_directory(top, ".", &serial, &more);
    if (err < 0) return err;
    if (!more) return 0;
    cleanup_dir DIR *dir = open_directory(top, ".");
    if (!dir) return -errno;
    struct dirent *entry;
    while ((errno = 0, entry = readdir(dir))) {
      if (is_dot(entry->d_name)) continue;
      err = empty_directory(top, entry->d_name, &serial, &more);
      if (err < 0 && err != -ENOTDIR && err != -ELOOP && err != -ENOENT) return err;
      if (unlinkat(top, entry->d_name, AT_REMOVEDIR) < 0 && errno != ENOENT && errno != ENOTDIR) return -errno;
    }
    if (errno) return -errno;
  }
  return 0;
}

int remove_tree(int parent, const char *name) {
  if (unlinkat(parent, name, 0) == 0 || errno == ENOENT) return 0;
  if (errno != EISDIR) return -errno;
  cleanup_fd int top = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (top < 0) return -errno;
  int err = empty_tree(top);
  if (err < 0) return err;
  return unlinkat(parent, name, AT_REMOVEDIR) < 0 && errno != ENOENT ? -errno : 0;
}

typedef struct {
  dev_t device;
  ino_t inode;
} file_key;

/* The inodes with several names that were counted: an open-addressed table. */
typedef struct {
  file_key *slots;
  size_t capacity, used;
} key_set;

static size_t key_slot(const key_set *set, file_key key) {
  size_t at = (size_t)((key.inode * 0x9e3779b97f4a7c15ull) ^ key.device) & (set->capacity - 1);
  while (set->slots[at].inode && (set->slots[at].inode != key.inode || set->slots[at].device != key.device))
    at = (at + 1) & (set->capacity - 1);
  return at;
}

/* 1 if the key is new, 0 if it was there, -ENOMEM. */
static int key_add(key_set *set, file_key key) {
  if (set->used * 2 >= set->capacity) {
    key_set bigger = {.capacity = set->capacity ? set->capacity * 2 : 256, .used = set->used};
    bigger.slots = calloc(bigger.capacity, sizeof *bigger.slots);
    if (!bigger.slots) return -ENOMEM;
    for (size_t i = 0; i < set->capacity; i++)
      if (set->slots[i].inode) bigger.slots[key_slot(&bigger, set->slots[i])] = set->slots[i];
    free(set->slots);
    *set = bigger;
  }
  size_t at = key_slot(set, key);
  if (set->slots[at].inode) return 0;
  set->slots[at] = key;
  set->used++;
  return 1;
}

typedef struct {
  uint64_t bytes, inodes;
  key_set links;
  folder *todo;
} measure;

static int count(measure *m, const struct stat *st) {
  if (st->st_nlink > 1 && !S_ISDIR(st->st_mode)) {
    int fresh = key_add(&m->links, (file_key){st->st_dev, st->st_ino});
    if (fresh <= 0) return fresh;
  }
  m->bytes += (uint64_t)st->st_blocks * 512;
  m->inodes++;
  return 0;
}

/* Counts one directory's entries. What vanishes meanwhile is not counted: the tree may be in use. */
static int count_directory(measure *m, int root, const char *path) {
  cleanup_fd int fd = openat(root, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return errno == ENOENT || errno == ENOTDIR || errno == ELOOP ? 0 : -errno;
  cleanup_dir DIR *dir = open_directory(fd, ".");
  if (!dir) return -errno;
  struct dirent *entry;
  while ((errno = 0, entry = readdir(dir))) {
    struct stat st;
    if (is_dot(entry->d_name)) continue;
    if (fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
      if (errno == ENOENT) continue;
      return -errno;
    }
    int err = count(m, &st);
    if (err < 0) return err;
    if (!S_ISDIR(st.st_mode)) continue;
    /* ENAMETOOLONG: a container nested deeper than a path can say; the rest of it is not counted. */
    if ((err = folder_push(&m->todo, path, entry->d_name)) < 0 && err != -ENAMETOOLONG) return err;
  }
  return -errno;
}

static int measure_tree(measure *m, const char *path) {
  cleanup_fd int root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
  struct stat st;
  if (root < 0 || fstat(root, &st) < 0) return -errno;
  int err = count(m, &st);
  if (err == 0) err = count_directory(m, root, ".");
  for (folder *item; (item = folder_pop(&m->todo));) {
    if (err == 0) err = count_directory(m, root, item->path);
    free(item);
  }
  free(m->links.slots);
  return err;
}

typedef struct {
  addon_work work;
  measure result;
  char path[PATH_MAX];
} job;

static int run_remove(addon_work *work) { return remove_tree(AT_FDCWD, work->path); }

static int run_measure(addon_work *work) { return measure_tree(&((job *)work)->result, work->path); }

static int run_sync(addon_work *work) {
  cleanup_fd int fd = open(work->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  return fd < 0 || syncfs(fd) < 0 ? -errno : 0;
}

static napi_value measured(napi_env env, addon_work *work) {
  const measure *found = &((job *)work)->result;
  napi_value value = NULL;
  napi_create_object(env, &value);
  napi_set_named_property(env, value, "bytes", make_number(env, (double)found->bytes));
  napi_set_named_property(env, value, "inodes", make_number(env, (double)found->inodes));
  return value;
}

static napi_value start(napi_env env, napi_callback_info info, addon_work how) {
  napi_value args[1];
  job *j = calloc(1, sizeof *j);
  if (!j) return addon_throw_errno(env, ENOMEM, "allocate", NULL);
  j->work = how;
  j->work.path = j->path;
  if (!take_arguments(env, info, 1, args) || !take_path(env, args[0], j->path)) return addon_drop(&j->work);
  return addon_start(env, &j->work);
}

static napi_value remove_path(napi_env env, napi_callback_info info) {
  return start(env, info, (addon_work){.run = run_remove, .what = "remove"});
}
static napi_value disk_usage(napi_env env, napi_callback_info info) {
  return start(env, info, (addon_work){.run = run_measure, .result = measured, .what = "measure"});
}
static napi_value sync_filesystem(napi_env env, napi_callback_info info) {
  return start(env, info, (addon_work){.run = run_sync, .what = "syncfs"});
}

bool register_walk(napi_env env, napi_value exports) {
  static const addon_function table[] = {
      {"removeTree", remove_path}, {"diskUsage", disk_usage}, {"syncFilesystem", sync_filesystem}};
  return addon_register(env, exports, table, sizeof table / sizeof *table);
}
