/* Copies of whole trees. */
#ifndef BERTH_COPY_H
#define BERTH_COPY_H
#include "napi.h"

addon_call start_copy;

#endif
