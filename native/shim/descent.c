/* Processes as a table, and which of them belong together: by descent and session. A container may have made tens of
   thousands, and each is looked at a few times only: members with the same remainder of a key are in a list. */
#include "descent.h"

#include <stdlib.h>

static const uint32_t none = UINT32_MAX;

bool table_add(struct table *table, struct member member) {
  if (table->count == table->capacity) {
    size_t capacity = table->capacity ? table->capacity * 2 : 256;
    struct member *members = capacity < none ? realloc(table->members, capacity * sizeof *members) : NULL;
    if (!members) return false;
    table->members = members;
    table->capacity = capacity;
  }
  table->members[table->count++] = member;
  return true;
}

/* Where the list begins that has the members with this value of the key, among others. */
static uint32_t *list_of(struct table *table, enum member_key key, pid_t value) {
  return &table->members[(uint32_t)value % table->count].first[key];
}

static void make_lists(struct table *table, enum member_key key) {
  for (size_t i = 0; i < table->count; i++) table->members[i].first[key] = none;
  for (size_t i = 0; i < table->count; i++) {
    uint32_t *list = list_of(table, key, table->members[i].of[key]);
    table->members[i].next[key] = *list;
    *list = (uint32_t)i;
  }
}

/* Marks the members with this value of the key, puts those that were not marked before on the way of `todo`, and takes all
   out of their list: nobody has to meet them there again. */
static void mark(struct table *table, enum member_key key, pid_t value, uint32_t *todo) {
  for (uint32_t *at = list_of(table, key, value); *at != none;) {
    uint32_t index = *at;
    struct member *member = &table->members[index];
    if (member->of[key] != value) {
      at = &member->next[key];
      continue;
    }
    *at = member->next[key];
    if (member->in) continue;
    member->in = true;
    member->todo = *todo;
    *todo = index;
  }
}

/* Marks the root and everything that descends from it or is in a session that one of them is in. Every command gets a
   session of its own, so one that a member is in belongs to the command, whether its leader still lives (crun's does not)
   or not. The shim's own is never such a one. */
void descent_mark(struct table *table, pid_t root, pid_t own_session) {
  if (table->count == 0) return;
  for (enum member_key key = 0; key < MEMBER_KEYS; key++) make_lists(table, key);
  uint32_t todo = none;
  mark(table, BY_PID, root, &todo);
  while (todo != none) {
    struct member member = table->members[todo];
    todo = member.todo;
    mark(table, BY_PARENT, member.of[BY_PID], &todo);
    pid_t session = member.of[BY_SESSION];
    if (session > 0 && session != own_session) mark(table, BY_SESSION, session, &todo);
  }
}

/* Takes back the marks of those that are in `done`, too. */
void descent_leave_out(struct table *table, const struct table *done) {
  if (table->count == 0) return;
  make_lists(table, BY_PID);
  for (size_t i = 0; i < done->count; i++) {
    const struct member *other = &done->members[i];
    for (uint32_t at = *list_of(table, BY_PID, other->of[BY_PID]); at != none; at = table->members[at].next[BY_PID]) {
      struct member *member = &table->members[at];
      if (member->of[BY_PID] == other->of[BY_PID] && member->started == other->started) member->in = false;
    }
  }
}
