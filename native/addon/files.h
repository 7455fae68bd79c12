/* Reading inside a root that belongs to somebody else, and single calls on files. */
#ifndef BERTH_FILES_H
#define BERTH_FILES_H
#include "napi.h"

addon_call read_file_in_root, is_mount_root, copy_directory_attributes, set_access_list, try_lock;

#endif
