/* berth-shim <podDir>: keeps the processes of one pod. Descriptor 3, where there is one, is its first connection. */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client.h"
#include "job.h"
#include "loop.h"
#include "orphan.h"
#include "process.h"
#include "reopen.h"
#include "request.h"
#include "sandbox.h"
#include "shutdown.h"
#include "text.h"

enum { FIRST_CLIENT = 3 };
static const char socket_name[] = "shim.sock";

static void reap(struct source *source) {
  struct signalfd_siginfo info;
  int status;
  while (read(source->fd, &info, sizeof info) > 0) continue;
  for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
    if (!sandbox_reaped(pid) && !jobs_reaped(pid, status) && !processes_reaped(pid, status) && !openers_reaped(pid) &&
        jobs_running())
      orphan_note(pid, status);
  jobs_adopt();
  if (!jobs_running()) orphans_forget();
}

static int watch_children(struct source *source) {
  sigset_t children;
  sigemptyset(&children);
  sigaddset(&children, SIGCHLD);
  if (sigprocmask(SIG_SETMASK, &children, NULL) < 0) return -errno;
  int fd = signalfd(-1, &children, SFD_CLOEXEC | SFD_NONBLOCK);
  return fd < 0 ? -errno : source_open(source, fd, POLLIN, reap);
}

/* posix_spawn leaves the two signals that glibc keeps for itself ignored, and signal() refuses them: containers would
   inherit that. */
static void reset_internal_signals(void) {
  struct {
    void *handler;
    unsigned long flags;
    void *restorer;
    uint64_t mask;
  } standard = {0};
  for (int signo = 32; signo < 34; signo++) syscall(SYS_rt_sigaction, signo, &standard, NULL, sizeof standard.mask);
}

static int prepare(const char *folder, struct source *children) {
  static const int ignored[] = {SIGPIPE, SIGHUP, SIGTERM, SIGINT, SIGQUIT, SIGXFSZ, SIGUSR1, SIGUSR2};
  struct stat first;
  bool greeted = fstat(FIRST_CLIENT, &first) == 0; /* before a descriptor of ours gets that number */
  reset_internal_signals();
  for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++) signal(ignored[i], SIG_IGN);
  umask(077);
  for (int fd = 0; fd < 3; fd++)
    if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd) return -EBADF; /* not O_CLOEXEC: it is stdio */
  syscall(SYS_close_range, greeted ? FIRST_CLIENT + 1 : FIRST_CLIENT, ~0U, 0);
  if (chdir(folder) < 0 || prctl(PR_SET_CHILD_SUBREAPER, 1) < 0) return -errno;
  /* Fixed thresholds: else one large capture teaches malloc to keep tens of megabytes for ever. */
  mallopt(M_MMAP_THRESHOLD, 65536);
  mallopt(M_TRIM_THRESHOLD, 65536);
  int failed = watch_children(children);
  if (!failed) failed = clients_listen(socket_name, request_handle);
  if (!failed && greeted) failed = S_ISSOCK(first.st_mode) ? client_open(FIRST_CLIENT) : -ENOTSOCK;
  return failed;
}

int main(int argc, char **argv) {
  struct source children;
  if (argc != 2) {
    complain("usage: berth-shim", "<folder of the pod>", EINVAL);
    return 2;
  }
  int failed = prepare(argv[1], &children);
  if (failed) {
    complain("cannot start in", argv[1], -failed);
    return 1;
  }
  while (!failed && !shutdown_complete()) failed = loop_turn();
  if (failed) complain("cannot wait for", "events", -failed);
  unlink(socket_name);
  shutdown_finish();
  return failed ? 1 : 0;
}
