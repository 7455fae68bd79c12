/* Processes as a table, and which of them belong together: by descent and session. */
#ifndef BERTH_SHIM_DESCENT_H
#define BERTH_SHIM_DESCENT_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum member_key { BY_PID, BY_PARENT, BY_SESSION, MEMBER_KEYS };

struct member {
  pid_t of[MEMBER_KEYS]; /* the process itself, its parent, its session */
  uint64_t started; /* in clock ticks since boot: tells a pid's users apart */
  bool in, zombie;
  uint32_t first[MEMBER_KEYS], next[MEMBER_KEYS], todo; /* descent.c's */
};
struct table {
  struct member *members;
  size_t count, capacity;
};

bool table_add(struct table *table, struct member member);
void descent_mark(struct table *table, pid_t root, pid_t own_session);
void descent_leave_out(struct table *table, const struct table *done);

#endif
