/* The inodes with several names that were seen: an open-addressed table. */
#include "inodes.h"

#include <errno.h>
#include <stdlib.h>

static inode_slot *find(const inode_set *set, dev_t device, ino_t inode) {
  uint64_t hash = (inode ^ device << 48) * 0x9e3779b97f4a7c15ull;
  size_t at = (size_t)(hash ^ hash >> 32) & (set->capacity - 1);
  while (set->slots[at].inode && (set->slots[at].inode != inode || set->slots[at].device != device))
    at = (at + 1) & (set->capacity - 1);
  return &set->slots[at];
}

static int grow(inode_set *set) {
  inode_set bigger = {.capacity = set->capacity ? set->capacity * 2 : 256, .used = set->used};
  bigger.slots = calloc(bigger.capacity, sizeof *bigger.slots);
  if (!bigger.slots) return -ENOMEM;
  for (size_t i = 0; i < set->capacity; i++)
    if (set->slots[i].inode) *find(&bigger, set->slots[i].device, set->slots[i].inode) = set->slots[i];
  free(set->slots);
  *set = bigger;
  return 0;
}

int inode_add(inode_set *set, const struct stat *st, uint64_t *number) {
  if (set->used * 2 >= set->capacity && grow(set) < 0) return -ENOMEM;
  inode_slot *slot = find(set, st->st_dev, st->st_ino);
  if (slot->inode) {
    *number = slot->number;
    return 0;
  }
  *number = set->used++;
  *slot = (inode_slot){st->st_dev, st->st_ino, *number};
  return 1;
}
