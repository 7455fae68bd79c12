/* Reading inside a root that belongs to somebody else, and single calls on files. */
#include "files.h"

#include <sys/file.h>
#include <sys/xattr.h>

#include "attributes.h"
#include "held.h"
#include "root.h"

/*
 * Opens a regular file below `root` for reading. The first open is O_PATH: a FIFO does not block and a device is not
 * touched. -EISDIR stands for everything that is no regular file.
 */
static int open_regular(int root, const char *path) {
  cleanup_fd int handle = open_in_root(root, path, O_PATH);
  if (handle < 0) return handle;
  struct stat st;
  if (fstat(handle, &st) < 0) return -errno;
  if (!S_ISREG(st.st_mode)) return -EISDIR;
  return open_again(handle, O_RDONLY | O_NONBLOCK | O_NOCTTY);
}

/* Reads up to `limit` bytes into a growing buffer; the length, or -errno (-EFBIG: there is more). */
static ssize_t read_all(int fd, char **data, size_t limit) {
  size_t used = 0, room = limit + 1 < 4096 ? limit + 1 : 4096;
  *data = malloc(room);
  if (!*data) return -ENOMEM;
  for (;;) {
    ssize_t got = read(fd, *data + used, room - used);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return -errno;
    if (got == 0) return (ssize_t)used;
    used += (size_t)got;
    if (used > limit) return -EFBIG;
    if (used < room) continue;
    room = room * 2 > limit + 1 ? limit + 1 : room * 2;
    char *more = realloc(*data, room);
    if (!more) return -ENOMEM;
    *data = more;
  }
}

/* readFileInRoot(root, path, maxBytes): Buffer, or -errno as a number. */
napi_value read_file_in_root(napi_env env, napi_callback_info info) {
  napi_value args[3], result;
  char root_path[PATH_MAX], path[PATH_MAX];
  int64_t limit;
  if (!take_arguments(env, info, 3, args) || !take_path(env, args[0], root_path) || !take_path(env, args[1], path) ||
      !take_int64(env, args[2], &limit))
    return NULL;
  if (limit < 0 || limit > INT32_MAX) return addon_throw_type(env, "maxBytes is out of range");
  cleanup_fd int root = open(root_path, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (root < 0) return addon_throw_errno(env, errno, "open root", root_path);
  cleanup_fd int fd = open_regular(root, path);
  if (fd < 0) return make_int(env, fd);
  cleanup_free char *data = NULL;
  ssize_t length = read_all(fd, &data, (size_t)limit);
  if (length < 0) return make_int(env, (int)length);
  return napi_create_buffer_copy(env, (size_t)length, data, NULL, &result) == napi_ok ? result : NULL;
}

/* isMountRoot(path): whether something is mounted exactly there; a missing path is no mount. */
napi_value is_mount_root(napi_env env, napi_callback_info info) {
  napi_value args[1], result;
  char path[PATH_MAX];
  struct statx st;
  if (!take_arguments(env, info, 1, args) || !take_path(env, args[0], path)) return NULL;
  bool mounted = false;
  if (statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, 0, &st) == 0)
    mounted = (st.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
  else if (errno != ENOENT && errno != ENOTDIR) return addon_throw_errno(env, errno, "statx", path);
  return napi_get_boolean(env, mounted, &result) == napi_ok ? result : NULL;
}

/* copyDirectoryAttributes(from, to): of one directory to another. */
napi_value copy_directory_attributes(napi_env env, napi_callback_info info) {
  napi_value args[2];
  char from[PATH_MAX], to[PATH_MAX];
  if (!take_arguments(env, info, 2, args) || !take_path(env, args[0], from) || !take_path(env, args[1], to))
    return NULL;
  cleanup_fd int in = open(from, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
  if (in < 0) return addon_throw_errno(env, errno, "open", from);
  cleanup_fd int out = open(to, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
  if (out < 0) return addon_throw_errno(env, errno, "open", to);
  int err = copy_attributes(in, out);
  return err < 0 ? addon_throw_errno(env, -err, "copy attributes to", to) : make_int(env, 0);
}

/* setAccessList(path, acl): the POSIX access list of a file in the kernel's form (acl(5), linux/posix_acl_xattr.h). */
napi_value set_access_list(napi_env env, napi_callback_info info) {
  napi_value args[2];
  char path[PATH_MAX];
  void *list = NULL;
  size_t size = 0;
  if (!take_arguments(env, info, 2, args) || !take_path(env, args[0], path)) return NULL;
  if (napi_get_buffer_info(env, args[1], &list, &size) != napi_ok) return addon_throw_type(env, "acl must be a Buffer");
  if (lsetxattr(path, "system.posix_acl_access", list, size, 0) < 0)
    return addon_throw_errno(env, errno, "set the access list of", path);
  return make_int(env, 0);
}

/* tryLock(fd): the exclusive flock(2) of an open file, without waiting; false if another one has it. */
napi_value try_lock(napi_env env, napi_callback_info info) {
  napi_value args[1], result;
  int32_t fd;
  if (!take_arguments(env, info, 1, args)) return NULL;
  if (napi_get_value_int32(env, args[0], &fd) != napi_ok) return addon_throw_type(env, "fd must be a number");
  bool ours = flock(fd, LOCK_EX | LOCK_NB) == 0;
  if (!ours && errno != EWOULDBLOCK) return addon_throw_errno(env, errno, "flock", NULL);
  return napi_get_boolean(env, ours, &result) == napi_ok ? result : NULL;
}
