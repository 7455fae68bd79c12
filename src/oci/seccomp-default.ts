import type { SeccompArg } from './spec.ts';

// The RuntimeDefault profile as data: what is not listed fails with EPERM. Left out for everyone: kernel keyrings
// (keyctl, add_key, request_key: not namespaced), userfaultfd and io_uring (attack surface out of proportion to their
// use), nfsservctl and other calls of old, kexec, swap, and memory policy migration. Groups that a capability opens are
// below. A name that an architecture or a kernel does not have is passed over by the OCI runtimes.

const words = (text: string) => text.trim().split(/\s+/);

/** Calls that need no capability. */
export const allowedCalls: readonly string[] = [
  // Files by descriptor
  'read write readv writev pread64 pwrite64 preadv pwritev preadv2 pwritev2 lseek _llseek close close_range dup dup2',
  'dup3 fcntl fcntl64 flock fsync fdatasync sync syncfs sync_file_range sync_file_range2 arm_sync_file_range ftruncate',
  'ftruncate64 fallocate fadvise64 fadvise64_64 arm_fadvise64_64 readahead sendfile sendfile64 splice tee vmsplice',
  'copy_file_range ioctl pipe pipe2 memfd_create memfd_secret cachestat',
  // Files by name
  'open openat openat2 creat access faccessat faccessat2 stat stat64 lstat lstat64 fstat fstat64 fstatat64 newfstatat',
  'statx statfs statfs64 fstatfs fstatfs64 statmount listmount truncate truncate64 mkdir mkdirat rmdir unlink',
  'unlinkat rename renameat renameat2 link linkat symlink symlinkat readlink readlinkat mknod mknodat chmod fchmod',
  'fchmodat fchmodat2 chown chown32 fchown fchown32 lchown lchown32 fchownat utime utimes utimensat utimensat_time64',
  'futimesat umask getcwd chdir fchdir getdents getdents64 name_to_handle_at file_getattr file_setattr',
  'getxattr lgetxattr fgetxattr getxattrat setxattr lsetxattr fsetxattr setxattrat listxattr llistxattr flistxattr',
  'listxattrat removexattr lremovexattr fremovexattr removexattrat',
  // Waiting for events
  'select _newselect pselect6 pselect6_time64 poll ppoll ppoll_time64 epoll_create epoll_create1 epoll_ctl',
  'epoll_ctl_old epoll_wait epoll_wait_old epoll_pwait epoll_pwait2 eventfd eventfd2 signalfd signalfd4 timerfd_create',
  'timerfd_settime timerfd_settime64 timerfd_gettime timerfd_gettime64 inotify_init inotify_init1 inotify_add_watch',
  'inotify_rm_watch fanotify_mark io_setup io_destroy io_submit io_cancel io_getevents io_pgetevents',
  'io_pgetevents_time64',
  // Memory
  'brk mmap mmap2 munmap mremap mprotect pkey_mprotect pkey_alloc pkey_free madvise msync mincore mlock',
  'mlock2 mlockall munlock munlockall remap_file_pages membarrier map_shadow_stack mseal',
  // Processes and threads
  'fork vfork execve execveat exit exit_group wait4 waitid waitpid getpid getppid gettid getpgid getpgrp setpgid getsid',
  'setsid set_tid_address set_robust_list get_robust_list set_thread_area get_thread_area arch_prctl modify_ldt prctl',
  'seccomp rseq futex futex_time64 futex_waitv futex_wait futex_wake futex_requeue getrlimit ugetrlimit setrlimit',
  'prlimit64 getrusage getpriority setpriority ioprio_get ioprio_set nice sched_yield sched_getaffinity',
  'sched_setaffinity sched_getattr sched_setattr sched_getparam sched_setparam sched_getscheduler sched_setscheduler',
  'sched_get_priority_max sched_get_priority_min sched_rr_get_interval sched_rr_get_interval_time64 getcpu',
  'pidfd_open pidfd_send_signal process_mrelease landlock_create_ruleset landlock_add_rule landlock_restrict_self',
  'capget capset uretprobe uprobe',
  // Identity
  'getuid getuid32 geteuid geteuid32 getgid getgid32 getegid getegid32 getgroups getgroups32 getresuid getresuid32',
  'getresgid getresgid32 setuid setuid32 setgid setgid32 setreuid setreuid32 setregid setregid32 setresuid',
  'setresuid32 setresgid setresgid32 setgroups setgroups32 setfsuid setfsuid32 setfsgid setfsgid32',
  // Signals
  'kill tkill tgkill rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_tgsigqueueinfo rt_sigreturn',
  'rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 sigaltstack sigreturn signal sigaction sigpending sigprocmask',
  'sigsuspend pause alarm restart_syscall',
  // Time
  'time gettimeofday times clock_gettime clock_gettime64 clock_getres clock_getres_time64 clock_nanosleep',
  'clock_nanosleep_time64 nanosleep getitimer setitimer timer_create timer_delete timer_getoverrun timer_gettime',
  'timer_gettime64 timer_settime timer_settime64 adjtimex clock_adjtime clock_adjtime64',
  // Sockets; socket itself is below, by address family
  'socketpair bind listen accept accept4 connect getsockname getpeername getsockopt setsockopt shutdown send sendto',
  'sendmsg sendmmsg recv recvfrom recvmsg recvmmsg recvmmsg_time64',
  // System V and POSIX IPC
  'ipc shmget shmat shmdt shmctl semget semop semtimedop semtimedop_time64 semctl msgget msgsnd msgrcv msgctl mq_open',
  'mq_unlink mq_notify mq_getsetattr mq_timedsend mq_timedsend_time64 mq_timedreceive mq_timedreceive_time64',
  // The rest
  'uname sysinfo getrandom',
  // arm
  'breakpoint cacheflush set_tls',
].flatMap(words);

/** Calls that a capability of the container opens; the kernel still asks for that capability itself. */
export const callsByCapability: Readonly<Record<string, readonly string[]>> = {
  CAP_DAC_READ_SEARCH: words('open_by_handle_at'),
  CAP_SYS_ADMIN: words(
    'bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie lsm_get_self_attr lsm_list_modules ' +
      'lsm_set_self_attr mount mount_setattr move_mount ' +
      'open_tree open_tree_attr perf_event_open quotactl quotactl_fd setdomainname sethostname setns syslog umount ' +
      'umount2 unshare',
  ),
  CAP_SYS_BOOT: words('reboot'),
  CAP_SYS_CHROOT: words('chroot'),
  CAP_SYS_MODULE: words('delete_module init_module finit_module'),
  CAP_SYS_PACCT: words('acct'),
  CAP_SYS_PTRACE: words('kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev'),
  CAP_SYS_RAWIO: words('iopl ioperm'),
  CAP_SYS_TIME: words('settimeofday stime clock_settime clock_settime64'),
  CAP_SYS_TTY_CONFIG: words('vhangup'),
  CAP_SYS_NICE: words('get_mempolicy mbind set_mempolicy set_mempolicy_home_node'),
  CAP_SYSLOG: words('syslog'),
  CAP_BPF: words('bpf'),
  CAP_PERFMON: words('perf_event_open'),
};

export type ArgumentRule = { readonly names: readonly string[]; readonly args: readonly SeccompArg[] };

const when = (names: string, ...args: SeccompArg[]): ArgumentRule => ({ names: words(names), args });

const AF_ALG = 38;
const AF_VSOCK = 40;

// personality(2): Linux and 32-bit Linux, each with and without UNAME26, and the query. None loosens the address layout.
const personalities = [0x0, 0x8, 0x20000, 0x20008, 0xffffffff];

/**
 * Calls allowed for some arguments only. Address families: AF_VSOCK reaches the hypervisor whatever the network
 * namespace, AF_ALG the kernel's crypto code. One rule per range, as two conditions on one argument of one rule are "or"
 * for runc.
 */
export const argumentRules: readonly ArgumentRule[] = [
  when('socket', { index: 0, value: AF_ALG, op: 'SCMP_CMP_LT' }),
  when('socket', { index: 0, value: AF_ALG + 1, op: 'SCMP_CMP_EQ' }),
  when('socket', { index: 0, value: AF_VSOCK, op: 'SCMP_CMP_GT' }),
  ...personalities.map((value) => when('personality', { index: 0, value, op: 'SCMP_CMP_EQ' })),
];

/**
 * Refused for some arguments. 32-bit x86 has a second way to socket: socketcall with
 * its arguments in memory, where no filter sees the address family. libseccomp opens it for every rule that allows socket,
 * and any process reaches it through int 0x80; so it is closed, and 32-bit programs have to use socket itself, as musl does. The condition is masked because
 * libseccomp rejects one that is equal to its own (EEXIST); kernels know no call above 20, so the mask loses nothing.
 */
export const refusedRules: readonly ArgumentRule[] = [
  when('socketcall', { index: 0, value: 0xff, valueTwo: 1, op: 'SCMP_CMP_MASKED_EQ' }),
];

/**
 * CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET. CLONE_NEWTIME shares its bit with the exit signal of
 * clone(2) and cannot be asked for there.
 */
const newNamespaces = 0x7e020000;

/** Without CAP_SYS_ADMIN, clone(2) may make threads and processes but no namespaces. */
export const cloneWithoutNamespaces: ArgumentRule = when('clone', {
  index: 0,
  value: newNamespaces,
  valueTwo: 0,
  op: 'SCMP_CMP_MASKED_EQ',
});

/** clone3 passes its flags in memory, which a filter cannot read; libc falls back to clone on ENOSYS. */
export const absentCalls: readonly string[] = ['clone3'];

/** ptrace(2) before Linux 4.8 could change a call after the filter had seen it. */
export const ptraceSince: readonly [number, number] = [4, 8];
export const ptraceCalls: readonly string[] = words('ptrace process_vm_readv process_vm_writev');

/** Filters are written for the native ABI and those that the same processor runs beside it. */
export const architecturesOf: Readonly<Record<string, readonly string[]>> = {
  x64: ['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86', 'SCMP_ARCH_X32'],
  arm64: ['SCMP_ARCH_AARCH64', 'SCMP_ARCH_ARM'],
};
