/* The pause process of a pod, from where the shim's child (shim/holder.c) has made and entered all that it is to hold: it
   waits. A program of its own, without a library, because a container that shares its PID namespace may look at it
   through /proc: no file of the host stands behind /proc/<pid>/exe, and its memory is a few pages.

   Descriptor 0 is where it says, with one zero byte, that it is ready. */
#include <linux/audit.h>
#include <linux/errno.h>
#include <linux/filter.h>
#include <linux/prctl.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>

#include "../bare.h"

enum { SIGNAL_INT = 2, SIGNAL_KILL = 9, SIGNAL_TERM = 15 };

#if defined(__x86_64__)
enum { NATIVE_ARCH = AUDIT_ARCH_X86_64 };
__asm__(".globl _start\n_start:\n xor %ebp, %ebp\n call pause_main\n");
#else
enum { NATIVE_ARCH = AUDIT_ARCH_AARCH64 };
__asm__(".globl _start\n_start:\n b pause_main\n");
#endif

/* The start of the kernel's siginfo_t, which has 128 bytes (asm-generic/siginfo.h). */
struct signal_info {
  int signo, error, code, padding, sender;
  char rest[108];
};

/* Whoever may trace this process (CAP_SYS_PTRACE in the pod) finds one that can do nothing but wait and end: it must not
   be the way around a container's seccomp profile. write() and close_range() have nothing left to work on. */
static long allow_waiting_only(void) {
#define ALLOW(number) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
  static const struct sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)NATIVE_ARCH, 1, 0),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      ALLOW(__NR_rt_sigtimedwait),
      ALLOW(__NR_restart_syscall),
      ALLOW(__NR_write),
      ALLOW(__NR_close_range),
      ALLOW(__NR_exit_group),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
  };
#undef ALLOW
  struct sock_fprog program = {.len = sizeof filter / sizeof *filter, .filter = (struct sock_filter *)filter};
  return call(__NR_seccomp, SECCOMP_SET_MODE_FILTER, 0, (long)&program, 0, 0);
}

_Noreturn void pause_main(void);
_Noreturn void pause_main(void) {
  static const char name[] = "berth-pause", ready = 0;
  struct signal_info info;
  uint64_t ends = 1UL << (SIGNAL_TERM - 1) | 1UL << (SIGNAL_INT - 1);
  int first = call(__NR_getpid, 0, 0, 0, 0, 0) == 1;
  call(__NR_prctl, PR_SET_NAME, (long)name, 0, 0, 0);
  call(__NR_prctl, PR_SET_DUMPABLE, 0, 0, 0, 0);
  call(__NR_prctl, PR_SET_PDEATHSIG, SIGNAL_KILL, 0, 0, 0);
  if (allow_waiting_only() < 0) end(1);
  if (call(__NR_write, 0, (long)&ready, 1, 0, 0) != 1) end(1);
  call(__NR_close_range, 0, ~0U, 0, 0, 0);
  for (;;) {
    long got = call(__NR_rt_sigtimedwait, (long)&ends, (long)&info, 0, sizeof ends, 0);
    /* Blocked and waited for, these two reach even a PID 1. Its own pod may not end it so: of a sender outside its PID
       namespace the kernel says 0 (signal(7), pid_namespaces(7)). */
    if (got > 0 && (!first || info.sender == 0)) end(0);
  }
}
