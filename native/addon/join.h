/* Joining a layer with those below it: what is at a name, and copying what the layer relies on. */
#ifndef BERTH_JOIN_H
#define BERTH_JOIN_H
#include "napi.h"

addon_call tree_kind, tree_readlink, tree_xattrs, tree_inode, tree_times, tree_list, tree_copy_attributes,
    tree_copy_file, tree_copy_node, tree_rename;

#endif
