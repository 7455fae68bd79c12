/* Logs are opened in a child, which hands the descriptor over: their folder may be on a file server that does not answer. */
#ifndef BERTH_SHIM_OPENER_H
#define BERTH_SHIM_OPENER_H
#include <stdbool.h>

struct log_file;
enum { LOG_OPEN_MS = 10000 };
bool log_hand_over(const struct log_file *log, int socket, int failure);
int log_take_over(int socket);

#endif
