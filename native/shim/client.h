/* Connections. A client id stays valid, and answers nothing, after its connection went away. */
#ifndef BERTH_SHIM_CLIENT_H
#define BERTH_SHIM_CLIENT_H
#include "protocol.h"

#define EVERY_CLIENT UINT64_MAX

/* What is done with each frame that a client sends; its fields are still to be read. */
typedef void on_request(uint64_t client, uint16_t type, uint32_t request, struct wire_reader *from);

int client_open(int fd);
int clients_listen(const char *name, on_request *handle);
void clients_close(void);
bool clients_busy(void); /* some frame is not written yet */

struct parcel { /* descriptors that go with a frame; they are the frame's from then on */
  int fd[3];
  size_t count;
};
size_t clients_waiting(void); /* bytes that wait for all of them */
void send_frame(uint64_t client, struct wire_writer *frame);
void send_parcel(uint64_t client, struct wire_writer *frame, struct parcel parcel);
void send_failed(uint64_t client, uint32_t request, enum shim_failure kind, int err, const char *step,
                 const char *about);
void send_done(uint64_t client, uint32_t request);
#define SEND(client, message, MESSAGE, request, ...) \
  do { \
    struct wire_writer frame_ = wire_begin(SHIM_##MESSAGE, request); \
    shim_write_##message(&frame_, &(struct shim_##message){__VA_ARGS__}); \
    send_frame(client, &frame_); \
  } while (0)

#endif
