/* The end of the program: everything is killed, what was asked is answered. */
#ifndef BERTH_SHIM_SHUTDOWN_H
#define BERTH_SHIM_SHUTDOWN_H
#include <stdbool.h>
#include <stdint.h>

bool shutdown_wanted(uint64_t client, uint32_t request, bool force); /* false: processes run, and it is not forced */
bool shutting_down(void);
bool shutdown_complete(void); /* all has ended, or had time enough to */
void shutdown_finish(void); /* the last answers, and the last lines of the logs */

#endif
