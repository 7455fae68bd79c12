/* The log of the daemon, which waits for nobody. */
#ifndef BERTH_ADDON_LOG_H
#define BERTH_ADDON_LOG_H
#include "napi.h"

addon_call log_open, log_write, log_flush, log_lost;

#endif
