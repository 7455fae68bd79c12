/* Descriptors that node has no names for. */
#ifndef BERTH_STREAMS_H
#define BERTH_STREAMS_H
#include "napi.h"

addon_call connect_unix, connect_in_namespace, socket_error, set_window_size, receive_descriptors, watch_open,
    watch_for, watch_close;

#endif
