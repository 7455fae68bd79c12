/* Removing trees. */
#ifndef BERTH_REMOVE_H
#define BERTH_REMOVE_H

/*
 * Removes a directory tree or a single file at (`parent`, `name`): 0 or -errno; a missing one counts as removed. -EBUSY if
 * something is mounted there or below.
 */
int remove_tree(int parent, const char *name);

/* The same for a path of Berth's own. */
int remove_path(const char *path);

#endif
