/* The socket on which an OCI runtime hands over a terminal's master. */
#ifndef BERTH_SHIM_CONSOLE_H
#define BERTH_SHIM_CONSOLE_H
#include "loop.h"

struct console {
  struct source source, peer; /* the socket, and who connected to it */
  char name[40], path[108];
  int master;
};
int console_open(struct console *console);
int console_take(struct console *console); /* the master's descriptor, or -1; the socket is gone after it */

#endif
