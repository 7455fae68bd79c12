/* Mounts that show other owners than the disk has, and directories of a tree that somebody else controls. */
#include <linux/mount.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "files.h"

#define MAP_MAX 4096 /* the kernel takes no more than a page at once */
#define STACK_SIZE 16384

/* Runs with the parent's memory, so it must touch nothing, errno included: it waits for its end. */
static int hold_namespace(void *unused) {
  (void)unused;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  while (syscall(SYS_ppoll, NULL, 0, NULL, NULL, 0) < 0) continue; /* it does not return: every signal is blocked */
  return 0;
}

static int write_map(pid_t pid, const char *name, const char *text) {
  char path[48];
  snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
  cleanup_fd int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return -errno;
  size_t size = strlen(text);
  return write(fd, text, size) == (ssize_t)size ? 0 : -errno;
}

static int open_namespace(pid_t pid, const char *uids, const char *gids) {
  char path[48];
  int err = write_map(pid, "uid_map", uids);
  if (err == 0) err = write_map(pid, "gid_map", gids);
  if (err < 0) return err;
  snprintf(path, sizeof path, "/proc/%d/ns/user", pid);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  return fd < 0 ? -errno : fd;
}

/*
 * A user namespace with these maps, as a descriptor; or -errno. Only a process can make one: a child that lives just as
 * long. Its end is no SIGCHLD (exit signal 0), which would be news to the event loop.
 */
static int make_namespace(const char *uids, const char *gids) {
  _Alignas(16) static char stack[STACK_SIZE]; /* one at a time: only the main thread comes here */
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before); /* the child would run the parent's handlers */
  pid_t pid = clone(hold_namespace, stack + sizeof stack, CLONE_VM | CLONE_NEWUSER, NULL);
  int result = pid < 0 ? -errno : open_namespace(pid, uids, gids);
  if (pid > 0) {
    kill(pid, SIGKILL);
    while (waitpid(pid, NULL, __WALL) < 0 && errno == EINTR) continue;
  }
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return result;
}

/* bindMapped(source, target, uidMap, gidMap, attributes): with all mounts below; only the first shows other owners, and
   has the attributes. */
static napi_value bind_mapped(napi_env env, napi_callback_info info) {
  napi_value args[5];
  uint32_t attributes;
  char source[PATH_MAX], target[PATH_MAX], uids[PATH_MAX], gids[PATH_MAX];
  if (!take_arguments(env, info, 5, args) || !take_path(env, args[0], source) || !take_path(env, args[1], target) ||
      !take_path(env, args[2], uids) || !take_path(env, args[3], gids))
    return NULL;
  if (napi_get_value_uint32(env, args[4], &attributes) != napi_ok)
    return addon_throw_type(env, "bindMapped takes attributes");
  cleanup_fd int owners = make_namespace(uids, gids);
  if (owners < 0) return addon_throw_errno(env, -owners, "make a user namespace for", target);
  cleanup_fd int tree =
      (int)syscall(SYS_open_tree, AT_FDCWD, source, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
  if (tree < 0) return addon_throw_errno(env, errno, "bind mount", source);
  /* As in bindMount: the end of this tree must not reach the mounts below the source. */
  struct mount_attr slave = {.propagation = PROPAGATE_SLAVE};
  if (syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &slave, sizeof slave) < 0)
    return addon_throw_errno(env, errno, "set the propagation of", source);
  struct mount_attr set = {.attr_set = MOUNT_ATTR_IDMAP | attributes, .userns_fd = (uint64_t)owners};
  if (syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH, &set, sizeof set) < 0)
    return addon_throw_errno(env, errno, "map the owners of", source);
  if (syscall(SYS_move_mount, tree, "", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH) < 0)
    return addon_throw_errno(env, errno, "bind mount on", target);
  return make_int(env, 0);
}

/* openInRoot(root, path): a descriptor (O_PATH) of what is there, links resolved inside the root; or -errno. */
static napi_value open_path_in_root(napi_env env, napi_callback_info info) {
  napi_value args[2];
  char root_path[PATH_MAX], path[PATH_MAX];
  if (!take_arguments(env, info, 2, args) || !take_path(env, args[0], root_path) || !take_path(env, args[1], path))
    return NULL;
  cleanup_fd int root = open(root_path, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (root < 0) return addon_throw_errno(env, errno, "open root", root_path);
  return make_int(env, open_in_root(root, path, O_PATH));
}

bool register_idmap(napi_env env, napi_value exports) {
  static const addon_function table[] = {{"bindMapped", bind_mapped}, {"openInRoot", open_path_in_root}};
  return addon_register(env, exports, table, sizeof table / sizeof *table);
}
