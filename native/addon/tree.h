/* A tree that entries are created in or read from: unpack.c makes them, join.c looks below. */
#ifndef BERTH_TREE_H
#define BERTH_TREE_H
#include "finisher.h"
#include "napi.h"

/* The root, and the parent directory used last: archives come in directory order. */
typedef struct {
  int root, parent;
  int file; /* the large file that is being written, or -1 */
  finisher *small; /* the small files that are being written, or NULL */
  char parent_path[PATH_MAX];
} tree;

addon_call open_tree, close_tree;

bool take_tree(napi_env env, napi_value value, tree **t);

/*
 * The parent directory of `path` and, in `base`, its last component ("." for the root itself). The descriptor belongs
 * to the tree; it is kept until something is removed, for nothing else can make a path lead elsewhere.
 */
int find_parent(tree *t, char *path, const char **base);

/* The same of two paths: the parent of `first`, which is the caller's to close, and that of `second` in `other`. */
int find_parents(tree *t, char *first, const char **first_base, char *second, const char **second_base, int *other);

/* Something was removed or moved. */
void forget_parent(tree *t);

#endif
