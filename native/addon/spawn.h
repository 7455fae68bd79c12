/* Keepers, programs that outlive the daemon, and its own end. */
#ifndef BERTH_SPAWN_H
#define BERTH_SPAWN_H
#include "napi.h"

addon_call spawn_keeper_call, reap_call, open_process_call, end_process_call;

#endif
