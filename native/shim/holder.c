/* The new process of a sandbox, from clone to exec: inside its namespaces it sets them up, leaves all that is the host's
   behind, and becomes the pause program (pause/pause.c). */
#include "holder.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <net/if.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "descriptor.h"
#include "protocol.h"
#include "text.h"

/* Who the pause process is where the pod has no user namespace: nobody that the host or an image is likely to know. */
enum { PAUSE_ID = 65535 };

/* The pause program as it was built, so that no file of it need be found, or be changed, at run time. */
__asm__(".section .rodata\n.balign 16\npause_image:\n.incbin \"pause-program\"\npause_image_end:\n.previous\n");
extern const char pause_image[] __attribute__((visibility("hidden")));
extern const char pause_image_end[] __attribute__((visibility("hidden")));

static int raise_loopback(void) {
  cleanup_fd int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  struct ifreq request = {.ifr_name = "lo"};
  if (fd < 0 || ioctl(fd, SIOCGIFFLAGS, &request) < 0) return -errno;
  request.ifr_flags |= IFF_UP;
  return ioctl(fd, SIOCSIFFLAGS, &request) < 0 ? -errno : 0;
}

/* `net.ipv4.conf.eth0/100.forwarding=1`: as in sysctl.d(5), dot and slash change places unless the slash comes first. */
static int sysctl_write(const char *setting) {
  char path[300] = "/proc/sys/";
  const char *value = strchr(setting, '='), *first = strpbrk(setting, "./=");
  size_t base = strlen(path), size = value ? (size_t)(value - setting) : 0;
  if (size == 0 || size >= sizeof path - base) return -EINVAL;
  memcpy(path + base, setting, size);
  path[base + size] = 0;
  for (char *at = path + base; *first == '.' && *at; at++) *at = *at == '.' ? '/' : *at == '/' ? '.' : *at;
  if (strstr(path, "/../") || strstr(path, "//")) return -EINVAL;
  return write_file(path, 0, value + 1, strlen(value + 1));
}

void sysctls_write(const struct wire_strings *settings, struct verdict *verdict) {
  const char *setting = settings->first;
  for (uint32_t i = 0; i < settings->count && !verdict->err; i++, setting = wire_next(setting)) {
    verdict->err = sysctl_write(setting);
    verdict->refused = verdict->err == -EINVAL || verdict->err == -ERANGE || verdict->err == -E2BIG;
    if (verdict->err) join(verdict->step, "set the sysctl ", setting);
  }
}

/* Kernel: a thread that moves itself by a v1 tasks file does so at once; whoever moves a process, by cgroup.procs or from
   outside, waits for an RCU grace period first, many milliseconds (cgroup_procs_write_start). */
static void enter_cgroups(const struct shim_sandbox *want, struct verdict *verdict) {
  const char *tasks = want->cgroup_tasks.first;
  for (uint32_t i = 0; i < want->cgroup_tasks.count && !verdict->err; i++, tasks = wire_next(tasks)) {
    verdict->err = write_file(tasks, 0, "0", 1);
    if (verdict->err) join(verdict->step, "move the pause process to the cgroup ", tasks);
  }
}

#define STEP(call, ...) \
  if ((verdict->err = (call)) != 0) { \
    join(verdict->step, __VA_ARGS__); \
    return; \
  }
/* Everything that has to happen inside the new namespaces. */
static void set_up(const struct shim_sandbox *want, struct verdict *verdict) {
  if (*want->uid_map) STEP(setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0 ? -errno : 0, "become the namespace's root")
  if (want->uts && *want->hostname)
    STEP(sethostname(want->hostname, strlen(want->hostname)) < 0 ? -errno : 0, "set the hostname ", want->hostname)
  if (want->network) STEP(raise_loopback(), "bring up the loopback interface")
  sysctls_write(&want->sysctls, verdict);
}

/* An empty root of its own, which is all that is seen through /proc/<pid>/root and cwd. The program's file lies in it until
   it is open: as a file of the host it would be seen through /proc/<pid>/exe. */
static int enter_empty_root(int *program) {
  /* Else what is detached below would be unmounted for the host too (mount_namespaces(7), shared subtrees). */
  if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) return -errno;
  /* /proc is the one directory that is there on every host, and was needed until now. */
  if (mount("berth-pause", "/proc", "tmpfs", MS_NOSUID | MS_NODEV, "size=64k,nr_inodes=2,mode=0555") < 0) return -errno;
  /* pivot_root(2), NOTES: with "." twice the old root lies on the new one, and is what the next call detaches. */
  if (chdir("/proc") < 0 || syscall(SYS_pivot_root, ".", ".") < 0 || umount2(".", MNT_DETACH) < 0) return -errno;
  if (chdir("/") < 0) return -errno;
  int failed = write_file("program", O_CREAT | O_EXCL, pause_image, (size_t)(pause_image_end - pause_image));
  if (failed) return failed;
  /* Who cannot read a program gets a process from it that is not dumpable, from its first moment (execve(2)). */
  if (chmod("program", 0111) < 0) return -errno;
  *program = open("program", O_PATH | O_CLOEXEC);
  if (*program < 0 || unlink("program") < 0) return -errno;
  return mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV, NULL) < 0 ? -errno : 0;
}

static int drop_privileges(bool own_users) {
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
  struct __user_cap_data_struct none[2] = {0};
  if (setgroups(0, NULL) < 0) return -errno;
  if (!own_users && (setresgid(PAUSE_ID, PAUSE_ID, PAUSE_ID) < 0 || setresuid(PAUSE_ID, PAUSE_ID, PAUSE_ID) < 0))
    return -errno;
  if (syscall(SYS_capset, &header, none) < 0) return -errno;
  /* Also what keeps the root of a user namespace from getting its capabilities back at exec. */
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? -errno : 0;
}

/* As PID 1 the pause process reaps what is left to it, which the kernel does by itself for a parent that ignores SIGCHLD.
   What it blocks it waits for: blocked, they reach even a PID 1 without handlers. Both outlast exec. */
static void arrange_signals(void) {
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGTERM);
  sigaddset(&ends, SIGINT);
  sigprocmask(SIG_SETMASK, &ends, NULL);
  signal(SIGCHLD, SIG_IGN);
}

static int become_pause(int program, int report) {
  static char *const argv[] = {"berth-pause", NULL}, *const env[] = {NULL};
  if (dup2(report, 0) < 0 || syscall(SYS_close_range, 1, ~0U, CLOSE_RANGE_CLOEXEC) < 0) return -errno;
  syscall(SYS_execveat, program, "", argv, env, AT_EMPTY_PATH);
  return -errno;
}

static void leave_host(const struct shim_sandbox *want, int report, struct verdict *verdict) {
  int program = -1;
  STEP(enter_empty_root(&program), "give the pause process an empty root")
  STEP(drop_privileges(*want->uid_map != 0), "take the pause process's privileges away")
  STEP(become_pause(program, report), "run the pause process")
}
#undef STEP

_Noreturn void holder_run(const struct shim_sandbox *want, int go, int report) {
  struct verdict verdict = {0};
  char byte;
  enter_cgroups(want, &verdict);
  if (read(go, &byte, 1) != 1) _exit(1);
  if (!verdict.err) set_up(want, &verdict);
  arrange_signals();
  if (!verdict.err) leave_host(want, report, &verdict);
  if (write(report, &verdict, sizeof verdict) < 0) _exit(2); /* then the shim is gone */
  _exit(1);
}
