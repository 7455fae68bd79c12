/*
 * Creating the entries of an archive below a root. Every name is resolved by openat2(RESOLVE_IN_ROOT) up to its parent
 * and by an *at() call that does not follow the last component, so no name or link leaves the root. Functions return
 * 0 (or a descriptor) or -errno as a number: an archive full of surprises must not cost an exception each.
 * Strings are latin1: one character, one byte.
 */
#include <stdio.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "remove.h"
#include "unpack.h"

static void forget_parent(tree *t) {
  if (t->parent >= 0) close(t->parent);
  t->parent = -1;
}

static void free_tree(napi_env env, void *data, void *hint) {
  (void)env;
  (void)hint;
  tree *t = data;
  forget_parent(t);
  if (t->file >= 0) close(t->file);
  if (t->root >= 0) close(t->root);
  free(t);
}

static napi_value open_tree(napi_env env, napi_callback_info info) {
  napi_value args[1], result;
  char path[PATH_MAX];
  if (!take_arguments(env, info, 1, args) || !take_path(env, args[0], path)) return NULL;
  tree *t = calloc(1, sizeof *t);
  if (!t) return addon_throw_errno(env, ENOMEM, "open tree", path);
  t->parent = t->file = -1;
  t->root = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (t->root < 0) {
    int err = errno;
    free(t);
    return addon_throw_errno(env, err, "open tree", path);
  }
  if (napi_create_external(env, t, free_tree, NULL, &result) == napi_ok) return result;
  free_tree(env, t, NULL);
  return NULL;
}

bool take_tree(napi_env env, napi_value value, tree **t) {
  if (napi_get_value_external(env, value, (void **)t) == napi_ok && *t) return true;
  addon_throw_type(env, "Not a tree");
  return false;
}

/* Closes the descriptors now; later calls fail with EBADF. */
static napi_value close_tree(napi_env env, napi_callback_info info) {
  napi_value args[1];
  tree *t;
  if (!take_arguments(env, info, 1, args) || !take_tree(env, args[0], &t)) return NULL;
  forget_parent(t);
  if (t->file >= 0) close(t->file);
  if (t->root >= 0) close(t->root);
  t->root = t->file = -1;
  return make_int(env, 0);
}

int find_parent(tree *t, char *path, const char **base) {
  char *slash = strrchr(path, '/');
  *base = slash ? slash + 1 : path[0] ? path : ".";
  if (!slash) return t->root;
  *slash = 0;
  bool same = t->parent >= 0 && strcmp(t->parent_path, path) == 0;
  if (!same) {
    int fd = open_in_root(t->root, path, O_PATH | O_DIRECTORY);
    if (fd >= 0) {
      forget_parent(t);
      t->parent = fd;
      memcpy(t->parent_path, path, strlen(path) + 1);
    }
    *slash = '/';
    return fd;
  }
  *slash = '/';
  return t->parent;
}

/* What an entry says beside its content. */
typedef struct {
  uint32_t mode, uid, gid;
  struct timespec times[2];
  const uint8_t *xattrs;
  size_t xattrs_length;
} attributes;

/* Six values from args: mode, uid, gid, seconds, nanoseconds, xattrs (a Uint8Array or undefined). */
static bool take_attributes(napi_env env, const napi_value *args, attributes *a) {
  int64_t seconds, nanoseconds;
  napi_valuetype type;
  *a = (attributes){.times[0].tv_nsec = UTIME_OMIT};
  if (napi_get_value_uint32(env, args[0], &a->mode) != napi_ok ||
      napi_get_value_uint32(env, args[1], &a->uid) != napi_ok ||
      napi_get_value_uint32(env, args[2], &a->gid) != napi_ok || !take_int64(env, args[3], &seconds) ||
      !take_int64(env, args[4], &nanoseconds) || napi_typeof(env, args[5], &type) != napi_ok) {
    addon_throw_type(env, "Attributes are mode, uid, gid, seconds, nanoseconds, xattrs");
    return false;
  }
  a->mode &= 07777;
  a->times[1] = (struct timespec){.tv_sec = seconds, .tv_nsec = (long)nanoseconds};
  if (type == napi_undefined) return true;
  if (napi_get_buffer_info(env, args[5], (void **)&a->xattrs, &a->xattrs_length) == napi_ok &&
      a->xattrs_length <= XATTRS_MAX)
    return true;
  addon_throw_type(env, "xattrs must be a Buffer of at most 1 MiB");
  return false;
}

/* Packed xattrs are records of: name, NUL, value length (4 bytes, little-endian), value. */
static int each_xattr(const attributes *a, int fd, const char *path) {
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
    if (err < 0 && errno != ENOTSUP) return -errno;
    at += size;
  }
  return 0;
}

/* chown clears set-id bits and file capabilities, so it comes first; reading and writing change times: those last. */
static int apply(int fd, const attributes *a) {
  if (fchown(fd, a->uid, a->gid) < 0 || fchmod(fd, a->mode) < 0) return -errno;
  int err = each_xattr(a, fd, NULL);
  if (err < 0) return err;
  return futimens(fd, a->times) < 0 ? -errno : 0;
}

/* The same for what cannot be opened: symbolic links, devices, FIFOs. */
static int apply_at(int parent, const char *base, const attributes *a, bool link) {
  if (fchownat(parent, base, a->uid, a->gid, AT_SYMLINK_NOFOLLOW) < 0) return -errno;
  if (!link && fchmodat(parent, base, a->mode, 0) < 0) return -errno;
  if (a->xattrs_length) {
    char path[PATH_MAX];
    if ((size_t)snprintf(path, sizeof path, "/proc/self/fd/%d/%s", parent, base) >= sizeof path) return -ENAMETOOLONG;
    int err = each_xattr(a, -1, path);
    if (err < 0) return err;
  }
  return utimensat(parent, base, a->times, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

static int create(tree *t, char *path) {
  const char *base;
  int parent = find_parent(t, path, &base);
  if (parent < 0) return parent;
  int fd = openat(parent, base, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  return fd < 0 ? -errno : fd;
}

static int write_all(int fd, const uint8_t *data, size_t length) {
  while (length > 0) {
    ssize_t put = write(fd, data, length);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return -errno;
    data += put;
    length -= (size_t)put;
  }
  return 0;
}

/* treeWriteFile(tree, path, content, ...attributes): a whole small file in one call. -EEXIST if the name is taken. */
static napi_value tree_write_file(napi_env env, napi_callback_info info) {
  napi_value args[9];
  char path[PATH_MAX];
  tree *t;
  attributes a;
  uint8_t *data;
  size_t length;
  if (!take_arguments(env, info, 9, args) || !take_tree(env, args[0], &t) || !take_bytes_path(env, args[1], path) ||
      !take_attributes(env, args + 3, &a))
    return NULL;
  if (napi_get_buffer_info(env, args[2], (void **)&data, &length) != napi_ok)
    return addon_throw_type(env, "The content must be a Buffer");
  cleanup_fd int fd = create(t, path);
  if (fd < 0) return make_int(env, fd);
  int err = write_all(fd, data, length);
  return make_int(env, err < 0 ? err : apply(fd, &a));
}

/*
 * treeCreateFile(tree, path): opens a large file and returns its descriptor to write to. It belongs to the tree, one at
 * a time, so that a thread that is ended in the middle leaves nothing open.
 */
static napi_value tree_create_file(napi_env env, napi_callback_info info) {
  napi_value args[2];
  char path[PATH_MAX];
  tree *t;
  if (!take_arguments(env, info, 2, args) || !take_tree(env, args[0], &t) || !take_bytes_path(env, args[1], path))
    return NULL;
  if (t->file >= 0) return make_int(env, -EBUSY);
  int fd = create(t, path);
  if (fd >= 0) t->file = fd;
  return make_int(env, fd);
}

/* treeFinishFile(tree, ...attributes): gives that file its attributes and closes it. */
static napi_value tree_finish_file(napi_env env, napi_callback_info info) {
  napi_value args[7];
  tree *t;
  attributes a;
  if (!take_arguments(env, info, 7, args) || !take_tree(env, args[0], &t) || !take_attributes(env, args + 1, &a))
    return NULL;
  int err = t->file < 0 ? -EBADF : apply(t->file, &a);
  if (t->file >= 0 && close(t->file) < 0 && err == 0) err = -errno; /* a full disk may show here */
  t->file = -1;
  return make_int(env, err);
}

/* treeMakeDir(tree, path, ...attributes): 0 if made, 1 if a directory was there (it takes the attributes). */
static napi_value tree_make_dir(napi_env env, napi_callback_info info) {
  napi_value args[8];
  char path[PATH_MAX];
  tree *t;
  attributes a;
  const char *base;
  if (!take_arguments(env, info, 8, args) || !take_tree(env, args[0], &t) || !take_bytes_path(env, args[1], path) ||
      !take_attributes(env, args + 2, &a))
    return NULL;
  int parent = find_parent(t, path, &base);
  if (parent < 0) return make_int(env, parent);
  bool existed = mkdirat(parent, base, 0700) < 0;
  if (existed && errno != EEXIST) return make_int(env, -errno);
  cleanup_fd int fd = openat(parent, base, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return make_int(env, existed && (errno == ENOTDIR || errno == ELOOP) ? -EEXIST : -errno);
  int err = apply(fd, &a);
  return make_int(env, err < 0 ? err : existed);
}

/* treeSymlink(tree, path, target, ...attributes) */
static napi_value tree_symlink(napi_env env, napi_callback_info info) {
  napi_value args[9];
  char path[PATH_MAX], target[PATH_MAX];
  tree *t;
  attributes a;
  const char *base;
  if (!take_arguments(env, info, 9, args) || !take_tree(env, args[0], &t) || !take_bytes_path(env, args[1], path) ||
      !take_bytes_path(env, args[2], target) || !take_attributes(env, args + 3, &a))
    return NULL;
  int parent = find_parent(t, path, &base);
  if (parent < 0) return make_int(env, parent);
  if (symlinkat(target, parent, base) < 0) return make_int(env, -errno);
  return make_int(env, apply_at(parent, base, &a, true));
}

/* treeMakeNode(tree, path, type, major, minor, ...attributes): type is S_IFCHR, S_IFBLK or S_IFIFO. */
static napi_value tree_make_node(napi_env env, napi_callback_info info) {
  napi_value args[11];
  char path[PATH_MAX];
  tree *t;
  attributes a;
  const char *base;
  int64_t type, major_number, minor_number;
  if (!take_arguments(env, info, 11, args) || !take_tree(env, args[0], &t) || !take_bytes_path(env, args[1], path) ||
      !take_int64(env, args[2], &type) || !take_int64(env, args[3], &major_number) ||
      !take_int64(env, args[4], &minor_number) || !take_attributes(env, args + 5, &a))
    return NULL;
  int parent = find_parent(t, path, &base);
  if (parent < 0) return make_int(env, parent);
  dev_t device = makedev((unsigned)major_number, (unsigned)minor_number);
  if (mknodat(parent, base, (mode_t)type | 0600, device) < 0) return make_int(env, -errno);
  return make_int(env, apply_at(parent, base, &a, false));
}

/* treeLink(tree, existing, path): both ends stay below the root; the existing name is not followed. */
static napi_value tree_link(napi_env env, napi_callback_info info) {
  napi_value args[3];
  char existing[PATH_MAX], path[PATH_MAX];
  tree *t;
  const char *from, *to;
  if (!take_arguments(env, info, 3, args) || !take_tree(env, args[0], &t) || !take_bytes_path(env, args[1], existing) ||
      !take_bytes_path(env, args[2], path))
    return NULL;
  int found = find_parent(t, existing, &from);
  if (found < 0) return make_int(env, found);
  cleanup_fd int source = fcntl(found, F_DUPFD_CLOEXEC, 3); /* the next line may close the tree's own */
  if (source < 0) return make_int(env, -errno);
  int parent = find_parent(t, path, &to);
  if (parent < 0) return make_int(env, parent);
  return make_int(env, linkat(source, from, parent, to, 0) < 0 ? -errno : 0);
}

/* treeRemove(tree, path): whatever is there, with all below it. */
static napi_value tree_remove(napi_env env, napi_callback_info info) {
  napi_value args[2];
  char path[PATH_MAX];
  tree *t;
  const char *base;
  if (!take_arguments(env, info, 2, args) || !take_tree(env, args[0], &t) || !take_bytes_path(env, args[1], path))
    return NULL;
  int parent = find_parent(t, path, &base);
  if (parent == -ENOENT || parent == -ENOTDIR) return make_int(env, 0);
  if (parent < 0) return make_int(env, parent);
  int err = strcmp(base, ".") == 0 ? -EBUSY : remove_tree(parent, base);
  forget_parent(t);
  return make_int(env, err);
}

/* treeSetXattrs(tree, path, xattrs): adds them to an existing directory. */
static napi_value tree_set_xattrs(napi_env env, napi_callback_info info) {
  napi_value args[3];
  char path[PATH_MAX];
  tree *t;
  attributes a = {0};
  const char *base;
  if (!take_arguments(env, info, 3, args) || !take_tree(env, args[0], &t) || !take_bytes_path(env, args[1], path))
    return NULL;
  if (napi_get_buffer_info(env, args[2], (void **)&a.xattrs, &a.xattrs_length) != napi_ok)
    return addon_throw_type(env, "xattrs must be a Buffer");
  int parent = find_parent(t, path, &base);
  if (parent < 0) return make_int(env, parent);
  cleanup_fd int fd = openat(parent, base, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  return make_int(env, fd < 0 ? -errno : each_xattr(&a, fd, NULL));
}

/* treeSetTimes(tree, path, seconds, nanoseconds): of a directory; -ENOTDIR for anything else, which keeps its own. */
static napi_value tree_set_times(napi_env env, napi_callback_info info) {
  napi_value args[4];
  char path[PATH_MAX];
  tree *t;
  const char *base;
  int64_t seconds, nanoseconds;
  if (!take_arguments(env, info, 4, args) || !take_tree(env, args[0], &t) || !take_bytes_path(env, args[1], path) ||
      !take_int64(env, args[2], &seconds) || !take_int64(env, args[3], &nanoseconds))
    return NULL;
  int parent = find_parent(t, path, &base);
  if (parent < 0) return make_int(env, parent);
  cleanup_fd int fd = openat(parent, base, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return make_int(env, errno == ELOOP ? -ENOTDIR : -errno);
  const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = seconds, .tv_nsec = (long)nanoseconds}};
  return make_int(env, futimens(fd, times) < 0 ? -errno : 0);
}

/* treeMkdir(tree, path): a directory that the archive implies but does not describe. */
static napi_value tree_mkdir(napi_env env, napi_callback_info info) {
  napi_value args[2];
  char path[PATH_MAX];
  tree *t;
  const char *base;
  if (!take_arguments(env, info, 2, args) || !take_tree(env, args[0], &t) || !take_bytes_path(env, args[1], path))
    return NULL;
  int parent = find_parent(t, path, &base);
  if (parent < 0) return make_int(env, parent);
  if (mkdirat(parent, base, 0755) < 0) return make_int(env, -errno);
  return make_int(env, fchmodat(parent, base, 0755, 0) < 0 ? -errno : 0);
}

bool register_unpack(napi_env env, napi_value exports) {
  static const addon_function table[] = {
      {"openTree", open_tree},
      {"closeTree", close_tree},
      {"treeWriteFile", tree_write_file},
      {"treeCreateFile", tree_create_file},
      {"treeFinishFile", tree_finish_file},
      {"treeMakeDir", tree_make_dir},
      {"treeSymlink", tree_symlink},
      {"treeMakeNode", tree_make_node},
      {"treeLink", tree_link},
      {"treeRemove", tree_remove},
      {"treeSetXattrs", tree_set_xattrs},
      {"treeSetTimes", tree_set_times},
      {"treeMkdir", tree_mkdir},
  };
  return addon_register(env, exports, table, sizeof table / sizeof *table);
}
