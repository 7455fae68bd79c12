/* Keepers: programs that outlive the daemon. */
#ifndef BERTH_SPAWN_H
#define BERTH_SPAWN_H
#include "napi.h"

addon_call spawn_keeper_call, reap_call;

#endif
