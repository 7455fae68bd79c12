/* Addresses of names, each looked up by a thread of its own. */
#ifndef BERTH_LOOKUP_H
#define BERTH_LOOKUP_H
#include "napi.h"

addon_call lookup_call;

#endif
