/*
 * Joining a layer with those below it: what is at a name, and copying what the layer relies on. Lower layers are read
 * through the same kind of tree as they were made with; a name is followed only as far as real directories go.
 */
#include "join.h"

#include <stdio.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "attributes.h"
#include "content.h"
#include "held.h"
#include "tree.h"

/* What treeKind answers; src/sys/tree.ts has the same table. */
enum { kind_none, kind_directory, kind_opaque, kind_whiteout, kind_symlink, kind_file, kind_other };

static int kind_of(int parent, const char *base) {
  struct stat st;
  char value[2];
  if (fstatat(parent, base, &st, AT_SYMLINK_NOFOLLOW) < 0) return errno == ENOENT ? kind_none : -errno;
  if (S_ISLNK(st.st_mode)) return kind_symlink;
  if (S_ISREG(st.st_mode)) return kind_file;
  if (S_ISCHR(st.st_mode) && st.st_rdev == makedev(0, 0)) return kind_whiteout;
  if (!S_ISDIR(st.st_mode)) return kind_other;
  cleanup_fd int fd = openat(parent, base, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return -errno;
  ssize_t size = fgetxattr(fd, "trusted.overlay.opaque", value, sizeof value);
  return size == 1 && value[0] == 'y' ? kind_opaque : kind_directory;
}

/* treeKind(tree, path): a kind, or -errno. What stands below something that is no directory does not exist. */
napi_value tree_kind(napi_env env, napi_callback_info info) {
  napi_value args[2];
  char path[PATH_MAX];
  tree *t;
  const char *base;
  if (!take_arguments(env, info, 2, args) || !take_tree(env, args[0], &t) || !take_bytes_path(env, args[1], path))
    return NULL;
  int parent = find_parent(t, path, &base);
  if (parent == -ENOENT || parent == -ENOTDIR || parent == -ELOOP) return make_int(env, kind_none);
  return make_int(env, parent < 0 ? parent : kind_of(parent, base));
}

/* treeReadlink(tree, path): the target as a latin1 string, or -errno. */
napi_value tree_readlink(napi_env env, napi_callback_info info) {
  napi_value args[2], result;
  char path[PATH_MAX], target[PATH_MAX];
  tree *t;
  const char *base;
  if (!take_arguments(env, info, 2, args) || !take_tree(env, args[0], &t) || !take_bytes_path(env, args[1], path))
    return NULL;
  int parent = find_parent(t, path, &base);
  if (parent < 0) return make_int(env, parent);
  ssize_t length = readlinkat(parent, base, target, sizeof target);
  if (length < 0) return make_int(env, -errno);
  return napi_create_string_latin1(env, target, (size_t)length, &result) == napi_ok ? result : NULL;
}

/* treeXattrs(tree, path): all of them, packed, or -errno; the last component is not followed. */
napi_value tree_xattrs(napi_env env, napi_callback_info info) {
  napi_value args[2], result;
  char path[PATH_MAX], at[PATH_MAX + 32], names[65536];
  tree *t;
  const char *base;
  if (!take_arguments(env, info, 2, args) || !take_tree(env, args[0], &t) || !take_bytes_path(env, args[1], path))
    return NULL;
  int parent = find_parent(t, path, &base);
  if (parent < 0) return make_int(env, parent);
  snprintf(at, sizeof at, "/proc/self/fd/%d/%s", parent, base);
  ssize_t length = llistxattr(at, names, sizeof names);
  if (length < 0 && errno != ENOTSUP) return make_int(env, -errno);
  cleanup_free uint8_t *packed = length > 0 ? malloc(XATTRS_MAX) : NULL;
  if (length > 0 && !packed) return make_int(env, -ENOMEM);
  size_t used = 0;
  for (const char *name = names; length > 0 && name < names + length; name += strlen(name) + 1) {
    int err = pack_xattr(at, name, packed, &used);
    if (err < 0) return make_int(env, err);
  }
  return napi_create_buffer_copy(env, used, packed, NULL, &result) == napi_ok ? result : NULL;
}

/* Opens the same kind of thing, not followed, for reading. */
static int open_plain(tree *t, char *path, int flags) {
  const char *base;
  int parent = find_parent(t, path, &base);
  if (parent < 0) return parent;
  int fd = openat(parent, base, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | flags);
  return fd < 0 ? -errno : fd;
}

static bool take_two(napi_env env, const napi_value *args, tree **from, tree **to, char path[PATH_MAX],
                     char other[PATH_MAX]) {
  return take_tree(env, args[0], from) && take_bytes_path(env, args[1], path) && take_tree(env, args[2], to) &&
         take_bytes_path(env, args[3], other);
}

/* treeCopyAttributes(from, path, to, path): of a directory to another one. */
napi_value tree_copy_attributes(napi_env env, napi_callback_info info) {
  napi_value args[4];
  char from_path[PATH_MAX], to_path[PATH_MAX];
  tree *from, *to;
  if (!take_arguments(env, info, 4, args) || !take_two(env, args, &from, &to, from_path, to_path)) return NULL;
  cleanup_fd int in = open_plain(from, from_path, O_DIRECTORY);
  if (in < 0) return make_int(env, in);
  cleanup_fd int out = open_plain(to, to_path, O_DIRECTORY);
  return make_int(env, out < 0 ? out : copy_attributes(in, out));
}

/* treeCopyFile(from, path, to, path, most): a regular file with all its attributes, under a new name. The bytes that are
   stored of it; -EFBIG if they are more than `most`. */
napi_value tree_copy_file(napi_env env, napi_callback_info info) {
  napi_value args[5];
  char from_path[PATH_MAX], to_path[PATH_MAX];
  tree *from, *to;
  int64_t most;
  struct stat st;
  const char *base;
  if (!take_arguments(env, info, 5, args) || !take_two(env, args, &from, &to, from_path, to_path) ||
      !take_int64(env, args[4], &most))
    return NULL;
  cleanup_fd int in = open_plain(from, from_path, 0);
  if (in < 0) return make_int(env, in);
  if (fstat(in, &st) < 0) return make_int(env, -errno);
  if (!S_ISREG(st.st_mode)) return make_int(env, -EINVAL);
  int parent = find_parent(to, to_path, &base);
  if (parent < 0) return make_int(env, parent);
  cleanup_fd int out = openat(parent, base, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (out < 0) return make_int(env, -errno);
  int64_t size = copy_content(in, out, most);
  int err = size < 0 ? (int)size : copy_attributes(in, out);
  return make_number(env, err < 0 ? err : (double)size);
}

static int copy_node(int from, const char *from_base, int to, const char *to_base) {
  struct stat st;
  char target[PATH_MAX];
  if (fstatat(from, from_base, &st, AT_SYMLINK_NOFOLLOW) < 0) return -errno;
  if (S_ISLNK(st.st_mode)) {
    ssize_t length = readlinkat(from, from_base, target, sizeof target - 1);
    if (length < 0) return -errno;
    target[length] = 0;
    if (symlinkat(target, to, to_base) < 0) return -errno;
  } else if (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode)) {
    return -EINVAL;
  } else if (mknodat(to, to_base, (st.st_mode & S_IFMT) | 0600, st.st_rdev) < 0) {
    return -errno;
  }
  const attributes a = {
      .mode = st.st_mode & 07777, .uid = st.st_uid, .gid = st.st_gid, .times = {{.tv_nsec = UTIME_OMIT}, st.st_mtim}};
  return apply_attributes_at(to, to_base, &a, S_ISLNK(st.st_mode));
}

/* treeCopyNode(from, path, to, path): a symbolic link, FIFO or device with its owner, mode and time; 0 or -errno. */
napi_value tree_copy_node(napi_env env, napi_callback_info info) {
  napi_value args[4];
  char from_path[PATH_MAX], to_path[PATH_MAX];
  tree *from, *to;
  const char *from_base, *to_base;
  if (!take_arguments(env, info, 4, args) || !take_two(env, args, &from, &to, from_path, to_path)) return NULL;
  int found = find_parent(from, from_path, &from_base);
  if (found < 0) return make_int(env, found);
  cleanup_fd int source = fcntl(found, F_DUPFD_CLOEXEC, 3); /* the next line may close it, if the two are one tree */
  if (source < 0) return make_int(env, -errno);
  int parent = find_parent(to, to_path, &to_base);
  return make_int(env, parent < 0 ? parent : copy_node(source, from_base, parent, to_base));
}

/* treeInode(tree, path): its number as a bigint, or -errno; the last component is not followed. */
napi_value tree_inode(napi_env env, napi_callback_info info) {
  napi_value args[2], result;
  char path[PATH_MAX];
  tree *t;
  struct stat st;
  const char *base;
  if (!take_arguments(env, info, 2, args) || !take_tree(env, args[0], &t) || !take_bytes_path(env, args[1], path))
    return NULL;
  int parent = find_parent(t, path, &base);
  if (parent < 0) return make_int(env, parent);
  if (fstatat(parent, base, &st, AT_SYMLINK_NOFOLLOW) < 0) return make_int(env, -errno);
  return napi_create_bigint_uint64(env, st.st_ino, &result) == napi_ok ? result : NULL;
}

static bool append(napi_env env, napi_value list, napi_value item) {
  uint32_t length;
  return item && napi_get_array_length(env, list, &length) == napi_ok &&
         napi_set_element(env, list, length, item) == napi_ok;
}

/* treeTimes(tree, path): the modification time of a directory as [seconds, nanoseconds], or -errno. */
napi_value tree_times(napi_env env, napi_callback_info info) {
  napi_value args[2], result;
  char path[PATH_MAX];
  tree *t;
  struct stat st;
  if (!take_arguments(env, info, 2, args) || !take_tree(env, args[0], &t) || !take_bytes_path(env, args[1], path))
    return NULL;
  cleanup_fd int fd = open_plain(t, path, O_DIRECTORY);
  if (fd < 0) return make_int(env, fd);
  if (fstat(fd, &st) < 0) return make_int(env, -errno);
  if (napi_create_array(env, &result) != napi_ok || !append(env, result, make_number(env, (double)st.st_mtim.tv_sec)) ||
      !append(env, result, make_number(env, (double)st.st_mtim.tv_nsec)))
    return NULL;
  return result;
}

/* treeList(tree, path): the names in a directory as latin1 strings, or -errno. */
napi_value tree_list(napi_env env, napi_callback_info info) {
  napi_value args[2], result, name;
  char path[PATH_MAX];
  tree *t;
  if (!take_arguments(env, info, 2, args) || !take_tree(env, args[0], &t) || !take_bytes_path(env, args[1], path) ||
      napi_create_array(env, &result) != napi_ok)
    return NULL;
  int fd = open_plain(t, path, O_DIRECTORY);
  if (fd < 0) return make_int(env, fd);
  cleanup_dir DIR *dir = fdopendir(fd);
  if (!dir) {
    close_fd(&fd);
    return make_int(env, -ENOMEM);
  }
  const struct dirent *entry;
  while ((errno = 0, entry = readdir(dir))) {
    if (is_dot(entry->d_name)) continue;
    if (napi_create_string_latin1(env, entry->d_name, NAPI_AUTO_LENGTH, &name) != napi_ok || !append(env, result, name))
      return NULL;
  }
  return errno ? make_int(env, -errno) : result;
}

/* treeRename(tree, from, to): -EEXIST if the new name is taken. */
napi_value tree_rename(napi_env env, napi_callback_info info) {
  napi_value args[3];
  char from[PATH_MAX], to[PATH_MAX];
  tree *t;
  const char *from_base, *to_base;
  int parent;
  if (!take_arguments(env, info, 3, args) || !take_tree(env, args[0], &t) || !take_bytes_path(env, args[1], from) ||
      !take_bytes_path(env, args[2], to))
    return NULL;
  cleanup_fd int source = find_parents(t, from, &from_base, to, &to_base, &parent);
  if (source < 0) return make_int(env, source);
  int err = renameat2(source, from_base, parent, to_base, 1 /* RENAME_NOREPLACE */) < 0 ? -errno : 0;
  forget_parent(t); /* it may be a path through what moved */
  return make_int(env, err);
}
