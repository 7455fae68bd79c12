/* Mounts that show other owners than the disk has: a user namespace is made for each, and lives just as long. */
#include "owners.h"

#include <linux/mount.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "held.h"

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
  _Alignas(16) static char stack[STACK_SIZE]; /* one at a time: see owners.h */
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

int bind_mapped(const mapped_mount *want, const char **what, const char **about) {
#define STEP(call, step, thing) \
  do { \
    *what = (step); \
    *about = (thing); \
    if ((call) < 0) return -errno; \
  } while (0)
  *what = "make a user namespace for";
  *about = want->target;
  bool maps = want->uids[0] != '\0';
  cleanup_fd int owners = maps ? make_namespace(want->uids, want->gids) : -1;
  if (maps && owners < 0) return owners;
  cleanup_fd int tree = -1;
  STEP(tree = (int)syscall(SYS_open_tree, AT_FDCWD, want->source, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE),
       "bind mount", want->source);
  /* As in bindMount: the end of this tree must not reach the mounts below the source. */
  struct mount_attr slave = {.propagation = PROPAGATE_SLAVE};
  STEP(syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &slave, sizeof slave),
       "set the propagation of", want->source);
  struct mount_attr limits = {.attr_set = want->attributes};
  STEP(syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &limits, sizeof limits), "limit the mount of",
       want->source);
  struct mount_attr set = {.attr_set = MOUNT_ATTR_IDMAP, .userns_fd = (uint64_t)owners};
  if (maps)
    STEP(syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH, &set, sizeof set), "map the owners of", want->source);
  STEP(syscall(SYS_move_mount, tree, "", AT_FDCWD, want->target, MOVE_MOUNT_F_EMPTY_PATH), "bind mount on",
       want->target);
#undef STEP
  return 0;
}
