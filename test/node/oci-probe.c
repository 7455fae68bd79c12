// Tries the system calls that the default seccomp profile is about and prints "name errno" for each, 0 for success.
#define _GNU_SOURCE
#include <errno.h>
#include <linux/keyctl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/personality.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

// A path that cannot exist: where a call is allowed it fails with ENOENT and changes nothing, whoever runs this.
static const char nowhere[] = "/proc/self/fdinfo/berth";

static void say(const char *name, long result)
{
	printf("%s %d\n", name, result < 0 ? errno : 0);
}

static void families(void)
{
	static const struct { const char *name; int family; } tried[] = {
		{ "unix", AF_UNIX },   { "inet", AF_INET },   { "netlink", AF_NETLINK },
		{ "alg", AF_ALG },     { "nfc", AF_NFC },     { "vsock", AF_VSOCK },
		{ "bluetooth", AF_BLUETOOTH },
	};
	for (unsigned i = 0; i < sizeof tried / sizeof *tried; i++) {
		char name[32];
		snprintf(name, sizeof name, "socket-%s", tried[i].name);
		say(name, socket(tried[i].family, SOCK_RAW, 0));
	}
}

static void kernel_calls(void)
{
	say("keyctl", syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0));
	say("add_key", syscall(SYS_add_key, "user", "x", "y", 1, KEY_SPEC_PROCESS_KEYRING));
	say("userfaultfd", syscall(SYS_userfaultfd, 1));
	say("io_uring_setup", syscall(SYS_io_uring_setup, 1, 0));
	say("bpf", syscall(SYS_bpf, 0, 0, 0));
	say("perf_event_open", syscall(SYS_perf_event_open, 0, 0, -1, -1, 0));
	say("kexec_load", syscall(SYS_kexec_load, 0, 0, 0, 0));
	say("mount", syscall(SYS_mount, "none", nowhere, "tmpfs", 0, 0));
	say("open_tree", syscall(SYS_open_tree, -1, nowhere, 1));
	say("personality-query", personality(0xffffffff));
	say("personality-fixed-layout", personality(ADDR_NO_RANDOMIZE));
}

static long cloned(long flags)
{
	long pid = syscall(SYS_clone, flags | SIGCHLD, 0, 0, 0, 0);
	if (pid == 0)
		_exit(0);
	return pid;
}

int main(void)
{
	families();
	kernel_calls();
	say("clone", cloned(0));
	say("clone-user", cloned(CLONE_NEWUSER));
	say("clone-cgroup", cloned(CLONE_NEWCGROUP));
	say("clone3", syscall(SYS_clone3, 0, 0));
#ifdef __x86_64__
	// The 32-bit entry, from which socketcall(SYS_SOCKET) takes its arguments in memory.
	static unsigned arguments[3] __attribute__((section(".data"))) = { AF_ALG, SOCK_SEQPACKET, 0 };
	long result;
	__asm__ volatile("int $0x80" : "=a"(result) : "a"(102L), "b"(1L), "c"(arguments) : "memory", "r8", "r9", "r10", "r11");
	printf("socketcall-alg %d\n", (int)result < 0 ? -(int)result : 0);
#endif
	// Last: in a user namespace without a map nothing else works.
	say("unshare-user", unshare(CLONE_NEWUSER));
	return 0;
}
