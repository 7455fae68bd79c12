/* The pod's namespaces: made, held by the pause process, pinned, and let go. */
#include "sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client.h"
#include "descriptor.h"
#include "holder.h"
#include "loop.h"
#include "text.h"

enum { SETUP_MS = 10000 };
static struct {
  pid_t pid;
  bool stopping;
  char *pin; /* where its network namespace is mounted */
  /* Its own namespaces, by descriptor: a path of its pid might be a stranger's by the time that it is used. 0: the host's. */
  int held[4];
  bool own_users;
  uid_t uid; /* whom the host knows the root of its user namespace as */
  gid_t gid;
} holder;

pid_t sandbox_pid(void) { return holder.pid; }

void sandbox_give(int fd) {
  if (holder.own_users && fchown(fd, holder.uid, holder.gid) < 0) complain("cannot give a pipe to", "the pod", errno);
}

/* The host's id of the namespace's root, of a line of uid_map: `0 100000 65536`. */
static uint32_t root_of(const char *map) {
  char *rest;
  strtoul(map, &rest, 10);
  return (uint32_t)strtoul(rest, NULL, 10);
}

/* On v2 it is born in its cgroup, which waits for nothing either. */
static pid_t clone_holder(const struct shim_sandbox *want, struct verdict *said) {
  bool placed = *want->cgroup_folder != 0;
  cleanup_fd int cgroup = placed ? open(want->cgroup_folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW) : -1;
  join(said->step, "make the sandbox's namespaces", placed ? " in the cgroup " : "", want->cgroup_folder);
  if (placed && cgroup < 0) return -errno;
  /* Without a mount namespace of its own the host's files would be reached through /proc/<pid>/root. */
  uint64_t flags = CLONE_NEWNS | (want->network ? CLONE_NEWNET : 0) | (want->pid ? CLONE_NEWPID : 0) |
                   (want->ipc ? CLONE_NEWIPC : 0) | (want->uts ? CLONE_NEWUTS : 0);
  /* The kernel makes the user namespace first, and it owns the others. */
  if (*want->uid_map) flags |= CLONE_NEWUSER;
  if (placed) flags |= CLONE_INTO_CGROUP;
  struct clone_args args = {.flags = flags, .exit_signal = SIGCHLD, .cgroup = placed ? (uint64_t)cgroup : 0};
  pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof args);
  return pid < 0 ? -errno : pid;
}

static int write_own(pid_t pid, const char *name, const char *text) {
  char path[64], digits[24];
  join(path, "/proc/", decimal(digits, (uint64_t)pid, 1), "/", name);
  return write_file(path, 0, text, strlen(text));
}

/* A whole verdict says what failed, one byte alone that the pause program waits. */
static int wait_verdict(int from, struct verdict *verdict) {
  int ready = poll(&(struct pollfd){.fd = from, .events = POLLIN}, 1, SETUP_MS);
  if (ready < 0) return -errno;
  if (ready == 0) return -ETIMEDOUT;
  ssize_t got = read(from, verdict, sizeof *verdict);
  if (got == 1) *verdict = (struct verdict){0};
  return got == 1 || got == sizeof *verdict ? 0 : -EPIPE;
}

enum { UTS, IPC, PID, USER };

static int hold_namespaces(const struct shim_sandbox *want, pid_t pid) {
  static const char *const names[] = {"uts", "ipc", "pid", "user"};
  const bool own[] = {want->uts, want->ipc, want->pid, *want->uid_map != 0};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    int fd = own[i] ? open_namespace(pid, names[i]) : 0;
    if (fd < 0) return fd;
    holder.held[i] = fd;
  }
  return 0;
}

static void let_go(void) {
  for (size_t i = 0; i < sizeof holder.held / sizeof *holder.held; i++) {
    if (holder.held[i]) close(holder.held[i]);
    holder.held[i] = 0;
  }
}

void sandbox_hold(uint64_t client, uint32_t request) {
  if (!holder.pid)
    return send_failed(client, request, SHIM_FAILED_NOT_RUNNING, ESRCH, "hold the sandbox's namespaces", "");
  const int *held = holder.held;
  SEND(client, held, HELD, request, .uts = (uint32_t)held[UTS], .ipc = (uint32_t)held[IPC], .pid = (uint32_t)held[PID],
       .user = (uint32_t)held[USER]);
}

static enum shim_failure kind_of(const struct verdict *said) {
  return said->refused ? SHIM_FAILED_INVALID : SHIM_FAILED_SYSTEM;
}

/* In a child: a thread that entered the pod's network would have to find its way back. */
static _Noreturn void write_sysctls(const struct shim_sysctls *want, int report) {
  struct verdict verdict = {0};
  cleanup_fd int network = open_namespace(holder.pid, "net");
  verdict.err = network < 0 ? network : setns(network, CLONE_NEWNET) < 0 ? -errno : 0;
  if (verdict.err) join(verdict.step, "enter the network namespace");
  if (!verdict.err) sysctls_write(&want->settings, &verdict);
  _exit(write(report, &verdict, sizeof verdict) == sizeof verdict ? 0 : 1);
}

void sandbox_sysctls(uint64_t client, uint32_t request, const struct shim_sysctls *want) {
  int report[2] = {-1, -1};
  struct verdict said = {0};
  if (!holder.pid)
    return send_failed(client, request, SHIM_FAILED_NOT_RUNNING, ESRCH, "set sysctls of the sandbox", "");
  pid_t pid = open_pipe(report) ? -1 : fork();
  if (pid == 0) write_sysctls(want, report[1]);
  if (pid < 0) said.err = -errno;
  close_held(&report[1]);
  report[1] = -1;
  int failed = pid > 0 ? wait_verdict(report[0], &said) : 0;
  if (failed) {
    said.err = failed;
    join(said.step, "wait for sysctls to be set");
  }
  close_held(&report[0]);
  if (pid > 0) {
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
  }
  if (said.err) send_failed(client, request, kind_of(&said), said.err, said.step, "");
  else send_done(client, request);
}

static int unpin(void) {
  let_go();
  if (!holder.pin) return 0;
  /* EINVAL: nothing is mounted there any more, ENOENT: nor is there a file; both are what we want. */
  if (umount2(holder.pin, MNT_DETACH | UMOUNT_NOFOLLOW) < 0 && errno != EINVAL && errno != ENOENT) return -errno;
  if (unlink(holder.pin) < 0 && errno != ENOENT) return -errno;
  free(holder.pin);
  holder.pin = NULL;
  return 0;
}

static void unpin_or_complain(void) {
  int failed = unpin();
  if (failed) complain("cannot unmount", holder.pin, -failed);
}

static int pin(pid_t pid, const char *path) {
  char source[64], digits[24];
  cleanup_fd int fd = open(path, O_RDONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
  if (fd < 0) return -errno;
  join(source, "/proc/", decimal(digits, (uint64_t)pid, 1), "/ns/net");
  if (!(holder.pin = strdup(path))) return -ENOMEM;
  return mount(source, path, NULL, MS_BIND, NULL) < 0 ? -errno : 0;
}

/* What the shim does for the new process before and after that sets itself up. 0, or -errno and the step's name. */
static int guide(const struct shim_sandbox *want, pid_t pid, int go, int report, bool *clamped, struct verdict *said) {
  char digits[24], number[26] = "-";
#define STEP(call, ...) \
  if ((said->err = (call)) != 0) { \
    join(said->step, __VA_ARGS__); \
    return said->err; \
  }
  if (*want->uid_map) {
    STEP(write_own(pid, "uid_map", want->uid_map), "map the user ids of the namespace")
    STEP(write_own(pid, "gid_map", want->gid_map), "map the group ids of the namespace")
  }
  if (want->adjust_oom) {
    int64_t score = want->oom_score_adj;
    join(number, score < 0 ? "-" : "", decimal(digits, (uint64_t)(score < 0 ? -score : score), 1));
    int failed = write_own(pid, "oom_score_adj", number);
    *clamped = failed == -EACCES || failed == -EPERM; /* lowering it takes CAP_SYS_RESOURCE; what it has then stays */
    STEP(*clamped ? 0 : failed, "adjust the OOM score of the pause process to ", number)
  }
  STEP(write(go, "", 1) == 1 ? 0 : -errno, "wake the pause process")
  struct verdict its;
  STEP(wait_verdict(report, &its), "wait for the pause process")
  if (its.err) {
    *said = its;
    return its.err;
  }
  STEP(hold_namespaces(want, pid), "hold the namespaces")
  if (want->network && *want->netns_path)
    STEP(pin(pid, want->netns_path), "mount the network namespace on ", want->netns_path)
#undef STEP
  return 0;
}

void sandbox_start(uint64_t client, uint32_t request, const struct shim_sandbox *want) {
  int go[2] = {-1, -1}, report[2] = {-1, -1};
  struct verdict said = {0};
  bool clamped = false;
  uint64_t begun = now_us();
  if (holder.pid || holder.pin) {
    send_failed(client, request, SHIM_FAILED_EXISTS, EEXIST, "make the sandbox: it exists", "");
    return;
  }
  let_go(); /* of one that ended by itself, on the host's network: nothing was pinned */
  pid_t pid = open_pipe(go) || open_pipe(report) ? -errno : clone_holder(want, &said);
  if (pid == 0) {
    close(go[1]);
    holder_run(want, go[0], report[1]);
  }
  if (pid < 0) {
    said.err = pid;
    if (!*said.step) join(said.step, "open pipes for the sandbox");
  } else {
    close_held(&report[1]);
    report[1] = -1; /* so that its death ends the wait */
    guide(want, pid, go[1], report[0], &clamped, &said);
  }
  for (int i = 0; i < 2; i++) {
    close_held(&go[i]);
    close_held(&report[i]);
  }
  if (said.err) {
    if (pid > 0) {
      kill(pid, SIGKILL);
      waitpid(pid, NULL, 0);
    }
    unpin_or_complain();
    send_failed(client, request, kind_of(&said), said.err, said.step, "");
    return;
  }
  holder.pid = pid;
  holder.own_users = *want->uid_map != 0;
  holder.uid = root_of(want->uid_map);
  holder.gid = root_of(want->gid_map);
  SEND(client, sandboxed, SANDBOXED, request, .pause_pid = (uint32_t)pid, .oom_clamped = clamped, .begun_us = begun,
       .ended_us = now_us());
}

void sandbox_end(void) {
  if (!holder.pid) return unpin_or_complain();
  holder.stopping = true;
  kill(holder.pid, SIGKILL);
}

bool sandbox_reaped(pid_t pid) {
  if (pid != holder.pid) return false;
  holder.pid = 0;
  /* Unasked, the pin stays: the network's plugins still need the namespace to undo what they did. */
  if (holder.stopping) unpin_or_complain();
  else SEND(EVERY_CLIENT, pause_exit, PAUSE_EXIT, 0, .pid = (uint32_t)pid);
  return true;
}
