/* Logs of running processes that are opened anew, after they were rotated. */
#ifndef BERTH_SHIM_REOPEN_H
#define BERTH_SHIM_REOPEN_H
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct process;
void log_reopen(uint64_t client, uint32_t request, const struct process *process, uint32_t deadline_ms);
bool openers_reaped(pid_t pid);
void openers_kill(void);

#endif
