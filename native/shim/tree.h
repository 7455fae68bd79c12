/* Processes by descent and session, from /proc. */
#ifndef BERTH_SHIM_TREE_H
#define BERTH_SHIM_TREE_H
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

size_t tree_signal(pid_t root, int signo, bool with_root);
void tree_kill(pid_t root);
pid_t tree_child_above(pid_t pid);

#endif
