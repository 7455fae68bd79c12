/* Small files and directories, written in one piece of work. */
#ifndef BERTH_WRITE_H
#define BERTH_WRITE_H
#include "napi.h"

addon_call write_call, directory_call, directories_call;

#endif
