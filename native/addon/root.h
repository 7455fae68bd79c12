/* Opening what is in a tree that somebody else may change meanwhile: below a root, never out of it. */
#ifndef BERTH_ROOT_H
#define BERTH_ROOT_H
#include <stdbool.h>

/* All return a descriptor (O_CLOEXEC) or -errno. */

/* `path` below `root`: links and ".." resolve inside it, magic links are refused. */
int open_in_root(int root, const char *path, int flags);

/* `name`, one component or several, below `folder`: no link is followed (O_PATH opens a link itself). -EXDEV for what is mounted there,
   unless the caller crosses into mounts. */
int open_child(int folder, const char *name, int flags, bool crosses);

/* The directory that `folder` is in now, to be read. The caller compares it with the one it came from. */
int open_parent(int folder, bool crosses);

/* A path of the host that must lead there without any link; -ELOOP if it does not (any more). */
int open_without_links(const char *path, int flags);

/* What a descriptor (O_PATH) is of, with other flags, whatever its name is by now. */
int open_again(int handle, int flags);

#endif
