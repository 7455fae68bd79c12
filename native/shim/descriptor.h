/* Descriptors: closed with their scope, and in pairs. Every one is close-on-exec. */
#ifndef BERTH_SHIM_DESCRIPTOR_H
#define BERTH_SHIM_DESCRIPTOR_H
#define cleanup_fd __attribute__((cleanup(close_held)))

void close_held(int *fd);
int open_pipe(int ends[2]);
int open_sockets(int ends[2]);

#endif
