/* The mount API. */
#ifndef BERTH_MOUNTS_H
#define BERTH_MOUNTS_H
#include "napi.h"

addon_call mount_overlay, bind_mount, plain_mount, unmount;

#endif
