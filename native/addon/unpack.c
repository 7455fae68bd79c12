/*
 * Creating the entries of an archive below a root. Every name is resolved by openat2 up to its parent, through no link,
 * and by an *at() call that does not follow the last component, so no name leaves the root. Functions return
 * 0 (or a descriptor) or -errno as a number: an archive full of surprises must not cost an exception each.
 * Strings are latin1: one character, one byte.
 */
#include "unpack.h"

#include <stdio.h>
#include <sys/sysmacros.h>

#include "attributes.h"
#include "content.h"
#include "held.h"
#include "remove.h"
#include "root.h"
#include "tree.h"

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

static int create(tree *t, char *path, mode_t mode) {
  const char *base;
  int parent = find_parent(t, path, &base);
  if (parent < 0) return parent;
  int fd = openat(parent, base, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
  return fd < 0 ? -errno : fd;
}

/* Throws what became of a file after its call had returned. */
static napi_value throw_late(napi_env env, tree *t) {
  const char *path;
  int err = finish_files(t->small, &path);
  return err < 0 ? addon_throw_errno(env, -err, "write file", path) : make_int(env, 0);
}

/*
 * treeWriteFile(tree, path, content, ...attributes): a whole small file. Its name is there when this returns; the content may
 * come later, see treeAwaitFiles. -EEXIST if the name is taken. Throws if an earlier file could not be written.
 */
napi_value tree_write_file(napi_env env, napi_callback_info info) {
  napi_value args[9];
  char path[PATH_MAX];
  tree *t;
  attributes a;
  file_content content = {.path = path, .attributes = &a};
  if (!take_arguments(env, info, 9, args) || !take_tree(env, args[0], &t) || !take_bytes_path(env, args[1], path) ||
      !take_attributes(env, args + 3, &a))
    return NULL;
  if (napi_get_buffer_info(env, args[2], (void **)&content.data, &content.size) != napi_ok)
    return addon_throw_type(env, "The content must be a Buffer");
  if (finisher_failed(t->small)) return throw_late(env, t);
  int fd = create(t, path, a.mode & 0777); /* less the umask, as a rule what it is to be */
  return make_int(env, fd < 0 ? fd : finish_file(&t->small, fd, &content));
}

/* treeAwaitFiles(tree): returns once all small files are whole. Throws if one could not be written. */
napi_value tree_await_files(napi_env env, napi_callback_info info) {
  napi_value args[1];
  tree *t;
  if (!take_arguments(env, info, 1, args) || !take_tree(env, args[0], &t)) return NULL;
  return throw_late(env, t);
}

/*
 * treeCreateFile(tree, path): opens a large file and returns its descriptor to write to. It belongs to the tree, one at
 * a time, so that a thread that is ended in the middle leaves nothing open.
 */
napi_value tree_create_file(napi_env env, napi_callback_info info) {
  napi_value args[2];
  char path[PATH_MAX];
  tree *t;
  if (!take_arguments(env, info, 2, args) || !take_tree(env, args[0], &t) || !take_bytes_path(env, args[1], path))
    return NULL;
  if (t->file >= 0) return make_int(env, -EBUSY);
  int fd = create(t, path, 0600);
  if (fd >= 0) t->file = fd;
  return make_int(env, fd);
}

/* treeFinishFile(tree, ...attributes): gives that file its attributes and closes it. */
napi_value tree_finish_file(napi_env env, napi_callback_info info) {
  napi_value args[7];
  tree *t;
  attributes a;
  if (!take_arguments(env, info, 7, args) || !take_tree(env, args[0], &t) || !take_attributes(env, args + 1, &a))
    return NULL;
  int err = t->file < 0 ? -EBADF : apply_attributes(t->file, &a);
  if (t->file >= 0 && close(t->file) < 0 && err == 0) err = -errno; /* a full disk may show here */
  t->file = -1;
  return make_int(env, err);
}

/* treeMakeDir(tree, path, ...attributes): 0 if made, 1 if a directory was there (it takes the attributes). */
napi_value tree_make_dir(napi_env env, napi_callback_info info) {
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
  int err = existed ? clear_xattrs(fd) : 0;
  if (err == 0) err = apply_attributes(fd, &a);
  return make_int(env, err < 0 ? err : existed);
}

/* treeSymlink(tree, path, target, ...attributes) */
napi_value tree_symlink(napi_env env, napi_callback_info info) {
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
  return make_int(env, apply_attributes_at(parent, base, &a, true));
}

/* treeMakeNode(tree, path, type, major, minor, ...attributes): type is S_IFCHR, S_IFBLK or S_IFIFO. */
napi_value tree_make_node(napi_env env, napi_callback_info info) {
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
  return make_int(env, apply_attributes_at(parent, base, &a, false));
}

/* treeLink(tree, existing, path): both ends stay below the root; the existing name is not followed. */
napi_value tree_link(napi_env env, napi_callback_info info) {
  napi_value args[3];
  char existing[PATH_MAX], path[PATH_MAX];
  tree *t;
  const char *from, *to;
  int parent;
  if (!take_arguments(env, info, 3, args) || !take_tree(env, args[0], &t) || !take_bytes_path(env, args[1], existing) ||
      !take_bytes_path(env, args[2], path))
    return NULL;
  cleanup_fd int source = find_parents(t, existing, &from, path, &to, &parent);
  if (source < 0) return make_int(env, source);
  return make_int(env, linkat(source, from, parent, to, 0) < 0 ? -errno : 0);
}

/* treeRemove(tree, path): whatever is there, with all below it. */
napi_value tree_remove(napi_env env, napi_callback_info info) {
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
napi_value tree_set_xattrs(napi_env env, napi_callback_info info) {
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
  return make_int(env, fd < 0 ? -errno : apply_xattrs(&a, fd, NULL));
}

/* treeSetTimes(tree, path, seconds, nanoseconds): of a directory; -ENOTDIR for anything else, which keeps its own. */
napi_value tree_set_times(napi_env env, napi_callback_info info) {
  napi_value args[4];
  char path[PATH_MAX];
  tree *t;
  const char *base;
  int64_t seconds, nanoseconds;
  if (!take_arguments(env, info, 4, args) || !take_tree(env, args[0], &t) || !take_bytes_path(env, args[1], path) ||
      !take_int64(env, args[2], &seconds) || !take_int64(env, args[3], &nanoseconds))
    return NULL;
  int parent = find_parent(t, path, &base);
  if (parent < 0) return make_int(env, parent == -ELOOP ? -ENOTDIR : parent);
  cleanup_fd int fd = openat(parent, base, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return make_int(env, errno == ELOOP ? -ENOTDIR : -errno);
  const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = seconds, .tv_nsec = (long)nanoseconds}};
  return make_int(env, futimens(fd, times) < 0 ? -errno : 0);
}

/* treeMkdir(tree, path): a directory that the archive implies but does not describe. */
napi_value tree_mkdir(napi_env env, napi_callback_info info) {
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

/* treeIsPlain(tree, path): 1 or 0, whether it is a directory that no link is on the way to. */
napi_value tree_is_plain(napi_env env, napi_callback_info info) {
  napi_value args[2];
  char path[PATH_MAX];
  tree *t;
  if (!take_arguments(env, info, 2, args) || !take_tree(env, args[0], &t) || !take_bytes_path(env, args[1], path))
    return NULL;
  cleanup_fd int fd = open_child(t->root, path[0] ? path : ".", O_PATH | O_DIRECTORY, true);
  return make_int(env, fd >= 0);
}
