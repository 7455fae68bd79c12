/* Mounts that show other owners than the disk has, or forbid what the source allows. */
#ifndef BERTH_OWNERS_H
#define BERTH_OWNERS_H
#include <stdint.h>

#define PROPAGATE_SLAVE (1u << 19) /* MS_SLAVE; this libc's mount headers disagree with each other */

typedef struct {
  const char *source, *target;
  const char *uids, *gids; /* lines of uid_map and gid_map (user_namespaces(7)); empty: the owners stay as they are */
  uint32_t attributes; /* MOUNT_ATTR_* */
} mapped_mount;

/* Binds the source on the target, with all mounts below it; all have the attributes, only the first shows other owners. 0, or
   -errno with what could not be done, and to what. One thread at a time. */
int bind_mapped(const mapped_mount *want, const char **what, const char **about);

#endif
