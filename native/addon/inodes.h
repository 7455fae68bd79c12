/* The inodes with several names that were seen, numbered from 0 in the order in which they were. */
#ifndef BERTH_INODES_H
#define BERTH_INODES_H
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

typedef struct {
  dev_t device;
  ino_t inode; /* 0: free */
  uint64_t number;
} inode_slot;

/* An open-addressed table; all zero is an empty one. Free `slots` at the end. */
typedef struct {
  inode_slot *slots;
  size_t capacity, used;
} inode_set;

/* 1 if it is new, 0 if it was there, -ENOMEM; and its number. */
int inode_add(inode_set *set, const struct stat *st, uint64_t *number);

#endif
