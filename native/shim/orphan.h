/* Statuses of children that nobody has claimed yet. */
#ifndef BERTH_SHIM_ORPHAN_H
#define BERTH_SHIM_ORPHAN_H
#include <sys/types.h>

void orphan_note(pid_t pid, int status);
int orphan_claim(pid_t pid, int *status); /* 1: it ended; 0: it lives; -ECHILD: it is not ours */
void orphans_forget(void);

#endif
