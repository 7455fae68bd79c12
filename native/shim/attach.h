/* Handing out descriptors of what a running process reads and writes. */
#ifndef BERTH_SHIM_ATTACH_H
#define BERTH_SHIM_ATTACH_H
#include <stdint.h>

struct process;
struct shim_attach;
void attach(uint64_t client, uint32_t request, struct process *process, const struct shim_attach *want);

#endif
