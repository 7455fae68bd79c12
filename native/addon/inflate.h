/* What gzip has compressed, decompressed off the caller's thread. */
#ifndef BERTH_INFLATE_H
#define BERTH_INFLATE_H
#include "napi.h"

addon_call open_inflater, close_inflater, inflate_call, inflater_ended;

#endif
