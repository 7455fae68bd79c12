/* What is compressed, decompressed on a thread of its own, ahead of who reads it. */
#ifndef BERTH_DECODER_H
#define BERTH_DECODER_H
#include "napi.h"

addon_call open_decoder, decoder_push, decoder_end, decoder_room, decoder_take, decoder_problem, decoder_digest,
    close_decoder;

#endif
