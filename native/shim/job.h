/* Commands in flight. */
#ifndef BERTH_SHIM_JOB_H
#define BERTH_SHIM_JOB_H
#include <sys/types.h>

#include "protocol.h"

void job_run(uint64_t client, uint32_t request, const struct shim_run *want);
void job_start(uint64_t client, uint32_t request, const struct shim_start *want);
void job_exec(uint64_t client, uint32_t request, const struct shim_exec *want);
void job_open_exec(uint64_t client, uint32_t request, const struct shim_open_exec *want);
bool job_cancel(uint64_t client, uint32_t request);
bool jobs_reaped(pid_t pid, int status);
/* After children were reaped: what they left behind may be ours now. */
void jobs_adopt(void);
bool jobs_running(void);
void jobs_kill(void);

#endif
