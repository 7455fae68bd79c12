/* The requests that run a command: what each makes of a job. */
#ifndef BERTH_SHIM_COMMAND_H
#define BERTH_SHIM_COMMAND_H
#include "protocol.h"

void command_run(uint64_t client, uint32_t request, const struct shim_run *want);
void command_start(uint64_t client, uint32_t request, const struct shim_start *want);
void command_exec(uint64_t client, uint32_t request, const struct shim_exec *want);
void command_open_exec(uint64_t client, uint32_t request, const struct shim_open_exec *want);

#endif
