/* What descends from this process and its children, from /proc. */
#ifndef BERTH_SHIM_TREE_H
#define BERTH_SHIM_TREE_H
#include <sys/types.h>

void tree_signal(pid_t root, int signo);
void tree_kill(pid_t root);
pid_t tree_child_above(pid_t pid);

#endif
