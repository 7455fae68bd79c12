/* What each request of a client does. */
#ifndef BERTH_SHIM_REQUEST_H
#define BERTH_SHIM_REQUEST_H
#include "protocol.h"

void request_handle(uint64_t client, uint16_t type, uint32_t request, struct wire_reader *from);

#endif
