/* The pod's namespaces, and the pause process that holds them. */
#ifndef BERTH_SHIM_SANDBOX_H
#define BERTH_SHIM_SANDBOX_H
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct shim_sandbox;
struct shim_sysctls;
void sandbox_start(uint64_t client, uint32_t request, const struct shim_sandbox *want);
/* Ends the pause process and unmounts the network namespace, now or when it is reaped. */
void sandbox_end(void);
bool sandbox_reaped(pid_t pid);
void sandbox_hold(uint64_t client, uint32_t request);
void sandbox_sysctls(uint64_t client, uint32_t request, const struct shim_sysctls *want);
pid_t sandbox_pid(void);
/* A pipe becomes the pod's root's, so that a process opens its own /dev/stdout: the kernel lets only who owns it, and an
   OCI runtime cannot give away in a user namespace what is not mapped there. */
void sandbox_give(int fd);

#endif
