/* Creating the entries of an archive below a root. */
#ifndef BERTH_UNPACK_H
#define BERTH_UNPACK_H
#include "napi.h"

addon_call tree_write_file, tree_await_files, tree_create_file, tree_finish_file, tree_make_dir, tree_symlink,
    tree_make_node, tree_link, tree_remove, tree_set_xattrs, tree_set_times, tree_mkdir, tree_is_plain;

#endif
