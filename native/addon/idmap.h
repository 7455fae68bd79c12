/* Mounts that show other owners than the disk has, and descriptors of what is in a root. */
#ifndef BERTH_IDMAP_H
#define BERTH_IDMAP_H
#include "napi.h"

addon_call bind_mapped_call, open_path_in_root;

#endif
