/* Connections: frames are read from them, and wait for them. What a request does is its handler's business. */
#include "client.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "loop.h"
#include "text.h"

enum { MAX_CLIENTS = 1024, FIRST_READ = 4096 };
/* What may wait for a client that does not read; beyond it the connection ends, and the exit files tell the rest. */
static const size_t max_waiting = (size_t)4 * SHIM_MAX_TO_DAEMON;
/* With more than this its requests wait too: small answers cost many times their size. */
enum { MAX_UNREAD = 262144 };

struct outgoing {
  struct outgoing *next;
  uint8_t *data;
  size_t size, sent;
  struct parcel parcel;
};
struct client {
  struct source source;
  struct client *next;
  uint64_t id;
  uint8_t *data;
  size_t size, capacity;
  struct outgoing *first, **last;
  size_t waiting;
  bool broken;
};
static struct client *clients;
static uint64_t last_id;
static size_t open_clients;
static struct source listener = {.fd = -1};
static on_request *handle;

static void drop_parcel(struct parcel *parcel) {
  for (size_t i = 0; i < parcel->count; i++) close(parcel->fd[i]);
  parcel->count = 0;
}

static void frame_free(struct outgoing *frame) {
  drop_parcel(&frame->parcel);
  free(frame->data);
  free(frame);
}

static void client_free(struct client *client) {
  for (struct client **at = &clients; *at; at = &(*at)->next) {
    if (*at != client) continue;
    *at = client->next;
    break;
  }
  for (struct outgoing *frame; (frame = client->first);) {
    client->first = frame->next;
    frame_free(frame);
  }
  source_close(&client->source);
  free(client->data);
  free(client);
  open_clients--;
}

/* Descriptors go with the first byte that the kernel takes. */
static ssize_t write_frame(int fd, struct outgoing *frame) {
  union {
    struct cmsghdr header;
    char space[CMSG_SPACE(sizeof frame->parcel.fd)];
  } control = {0};
  struct iovec part = {.iov_base = frame->data + frame->sent, .iov_len = frame->size - frame->sent};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
  size_t size = frame->parcel.count * sizeof(int);
  if (size) {
    control.header = (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(size)};
    memcpy(CMSG_DATA(&control.header), frame->parcel.fd, size);
    message.msg_control = &control;
    message.msg_controllen = CMSG_SPACE(size);
  }
  ssize_t wrote = sendmsg(fd, &message, MSG_NOSIGNAL);
  if (wrote > 0) drop_parcel(&frame->parcel);
  return wrote;
}

static void write_waiting(struct client *client) {
  for (struct outgoing *frame; (frame = client->first);) {
    ssize_t wrote = write_frame(client->source.fd, frame);
    if (wrote < 0) {
      if (errno != EAGAIN && errno != EINTR) client->broken = true;
      break;
    }
    client->waiting -= (size_t)wrote;
    frame->sent += (size_t)wrote;
    if (frame->sent < frame->size) break;
    client->first = frame->next;
    frame_free(frame);
  }
  if (!client->first) client->last = &client->first;
  client->source.events = (short)((client->first ? POLLOUT : 0) | (client->waiting > MAX_UNREAD ? 0 : POLLIN));
}

static void queue_frame(struct client *client, uint8_t *data, size_t size, struct parcel parcel) {
  struct outgoing *frame = client->broken ? NULL : malloc(sizeof *frame);
  if (!frame || client->waiting + size > max_waiting) {
    /* A reply that never comes would be worse than a connection that ends: the client then asks anew. */
    shutdown(client->source.fd, SHUT_RDWR);
    client->broken = true;
    free(frame);
    free(data);
    drop_parcel(&parcel);
    return;
  }
  *frame = (struct outgoing){.data = data, .size = size, .parcel = parcel};
  *client->last = frame;
  client->last = &frame->next;
  client->waiting += size;
  write_waiting(client);
  if (client->broken) shutdown(client->source.fd, SHUT_RDWR);
}

void send_parcel(uint64_t id, struct wire_writer *frame, struct parcel parcel) {
  bool whole = wire_end(frame);
  for (struct client *client = clients; client; client = client->next) {
    if (id != EVERY_CLIENT && client->id != id) continue;
    uint8_t *copy = whole ? frame->data : NULL;
    if (whole && id == EVERY_CLIENT && (copy = malloc(frame->size))) memcpy(copy, frame->data, frame->size);
    if (!copy) {
      shutdown(client->source.fd, SHUT_RDWR);
      client->broken = true;
      continue;
    }
    queue_frame(client, copy, frame->size, parcel);
    if (id != EVERY_CLIENT) return;
  }
  free(frame->data);
  drop_parcel(&parcel);
}

size_t clients_waiting(void) {
  size_t sum = 0;
  for (const struct client *client = clients; client; client = client->next) sum += client->waiting;
  return sum;
}

void send_frame(uint64_t client, struct wire_writer *frame) { send_parcel(client, frame, (struct parcel){0}); }

void send_failed(uint64_t client, uint32_t request, enum shim_failure kind, int err, const char *step,
                 const char *about) {
  char text[600];
  join(text, step, *about ? " " : "", about);
  SEND(client, failed, FAILED, request, .kind = kind, .error = (uint32_t)(err < 0 ? -err : err), .step = text);
}

void send_done(uint64_t client, uint32_t request) {
  struct wire_writer frame = wire_begin(SHIM_DONE, request);
  send_frame(client, &frame);
}

/* Handles every whole frame. False if the client does not speak the protocol. */
static bool take_frames(struct client *client) {
  size_t at = 0;
  while (client->size - at >= WIRE_LENGTH) {
    uint32_t length;
    memcpy(&length, client->data + at, sizeof length);
    if (length < WIRE_HEADER - WIRE_LENGTH || length > SHIM_MAX_TO_SHIM) return false;
    if (client->size - at - WIRE_LENGTH < length) break;
    uint16_t type;
    uint32_t request;
    const uint8_t *frame = client->data + at;
    memcpy(&type, frame + 4, sizeof type);
    memcpy(&request, frame + 6, sizeof request);
    struct wire_reader from = {.at = frame + WIRE_HEADER, .end = frame + WIRE_LENGTH + length};
    handle(client->id, type, request, &from);
    at += WIRE_LENGTH + length;
  }
  client->size -= at;
  memmove(client->data, client->data + at, client->size);
  if (client->size == 0) { /* an idle connection holds no memory */
    free(client->data);
    client->data = NULL;
    client->capacity = 0;
  }
  return true;
}

static bool make_room(struct client *client) {
  size_t wanted = FIRST_READ;
  if (client->size >= WIRE_LENGTH) {
    uint32_t length;
    memcpy(&length, client->data, sizeof length); /* take_frames checked it */
    if ((size_t)length + WIRE_LENGTH > wanted) wanted = (size_t)length + WIRE_LENGTH;
  }
  if (wanted <= client->capacity) return true;
  uint8_t *data = realloc(client->data, wanted);
  if (!data) return false;
  client->data = data;
  client->capacity = wanted;
  return true;
}

static void client_ready(struct source *source) {
  struct client *client = container_of(source, struct client, source);
  write_waiting(client);
  if (!client->broken && client->waiting > MAX_UNREAD) return;
  if (client->broken || !make_room(client)) {
    client_free(client);
    return;
  }
  ssize_t got = read(source->fd, client->data + client->size, client->capacity - client->size);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got > 0) client->size += (size_t)got;
  if (got <= 0 || !take_frames(client) || client->broken) client_free(client);
}

int client_open(int fd) {
  struct client *client = open_clients < MAX_CLIENTS ? calloc(1, sizeof *client) : NULL;
  if (!client || fcntl(fd, F_SETFL, O_NONBLOCK) < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 ||
      source_open(&client->source, fd, POLLIN, client_ready)) {
    free(client);
    close(fd);
    return -ENOMEM;
  }
  client->id = ++last_id;
  client->last = &client->first;
  client->next = clients;
  clients = client;
  open_clients++;
  return 0;
}

static void accept_client(struct source *source) {
  int fd = accept4(source->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (fd < 0) return;
  struct ucred peer;
  socklen_t size = sizeof peer;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0 || (peer.uid != 0 && peer.uid != geteuid())) close(fd);
  else if (client_open(fd)) complain("cannot serve", "another connection", ENOMEM);
}

int clients_listen(const char *name, on_request *with) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  memcpy(address.sun_path, name, strlen(name) + 1);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return -errno;
  /* A file that nobody listens on is what a killed shim left; a live one is not ours to replace. */
  if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0) {
    close(fd);
    return -EADDRINUSE;
  }
  unlink(name);
  mode_t before = umask(0177);
  int failed = bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, MAX_CLIENTS) < 0 ? -errno : 0;
  umask(before);
  handle = with;
  if (!failed) failed = source_open(&listener, fd, POLLIN, accept_client);
  if (failed) close(fd);
  return failed;
}

bool clients_busy(void) {
  for (struct client *client = clients; client; client = client->next)
    if (client->first && !client->broken) return true;
  return false;
}

void clients_close(void) {
  source_close(&listener);
  while (clients) client_free(clients);
}
