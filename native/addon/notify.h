/* A message to whoever supervises the daemon. */
#ifndef BERTH_NOTIFY_H
#define BERTH_NOTIFY_H
#include "napi.h"

addon_call notify_call;

#endif
