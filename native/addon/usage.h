/* Measuring and removing whole trees, and writing a filesystem back. */
#ifndef BERTH_USAGE_H
#define BERTH_USAGE_H
#include "napi.h"

addon_call remove_call, disk_usage, sync_filesystem;

#endif
