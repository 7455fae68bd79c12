/* Descriptors that node has no names for: sockets of another network namespace, descriptors that come over a socket,
   terminals; and the wait until one of them can be read or written. */
#include "streams.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <uv.h>

#include "held.h"

enum { MAX_DESCRIPTORS = 3 };

static int address_of(const char *path, struct sockaddr_un *address) {
  size_t size = strlen(path);
  *address = (struct sockaddr_un){.sun_family = AF_UNIX};
  if (size >= sizeof address->sun_path) return -ENAMETOOLONG;
  memcpy(address->sun_path, path, size + 1);
  return 0;
}

/* connectUnix(path): a connected stream socket. A full backlog is EAGAIN: it never waits. */
napi_value connect_unix(napi_env env, napi_callback_info info) {
  napi_value arguments[1];
  char path[PATH_MAX];
  struct sockaddr_un address;
  if (!take_arguments(env, info, 1, arguments) || !take_path(env, arguments[0], path)) return NULL;
  int failed = address_of(path, &address);
  if (failed) return addon_throw_errno(env, -failed, "connect", path);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return addon_throw_errno(env, errno, "socket", NULL);
  if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0) return make_int(env, fd);
  int err = errno;
  close(fd);
  return addon_throw_errno(env, err, "connect", path);
}

struct visit {
  const char *path;
  int family, result; /* a socket, or -errno */
};

/* A thread of its own, which ends in the namespace that it went to: no thread of node's ever leaves its own. */
static void *visit_namespace(void *argument) {
  struct visit *visit = argument;
  cleanup_fd int namespace = open(visit->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
  int fd = -1;
  if (namespace >= 0 && setns(namespace, CLONE_NEWNET) == 0)
    fd = socket(visit->family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  visit->result = fd < 0 ? -errno : fd;
  return NULL;
}

/* A socket stays in the namespace that it was made in, whoever uses it. */
static int socket_in(const char *path, int family) {
  struct visit visit = {.path = path, .family = family};
  pthread_t thread;
  if (!*path) {
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    return fd < 0 ? -errno : fd;
  }
  int failed = pthread_create(&thread, NULL, visit_namespace, &visit);
  if (failed) return -failed;
  pthread_join(thread, NULL);
  return visit.result;
}

static int connect_loopback(int fd, int family, uint16_t port) {
  struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = IN6ADDR_LOOPBACK_INIT};
  const struct sockaddr *address = family == AF_INET ? (struct sockaddr *)&v4 : (struct sockaddr *)&v6;
  int done = connect(fd, address, family == AF_INET ? sizeof v4 : sizeof v6);
  return done == 0 || errno == EINPROGRESS ? 0 : -errno;
}

/* connectLoopback(namespace, family, port): a TCP socket that connects to 127.0.0.1 (4) or ::1 (6) in the network
   namespace at this path; "" is the caller's own. Writable when it is connected or failed: see socketError. */
napi_value connect_in_namespace(napi_env env, napi_callback_info info) {
  napi_value arguments[3];
  char path[PATH_MAX];
  int64_t family, port;
  if (!take_arguments(env, info, 3, arguments) || !take_path(env, arguments[0], path) ||
      !take_int64(env, arguments[1], &family) || !take_int64(env, arguments[2], &port))
    return NULL;
  if ((family != 4 && family != 6) || port < 1 || port > 65535) return addon_throw_type(env, "no such family or port");
  int domain = family == 4 ? AF_INET : AF_INET6;
  int fd = socket_in(path, domain);
  if (fd < 0) return addon_throw_errno(env, -fd, "socket", *path ? path : NULL);
  int failed = connect_loopback(fd, domain, (uint16_t)port);
  if (!failed) return make_int(env, fd);
  close(fd);
  return addon_throw_errno(env, -failed, "connect", NULL);
}

/* socketError(fd): 0, or the errno with which the connection failed. */
napi_value socket_error(napi_env env, napi_callback_info info) {
  napi_value arguments[1];
  int64_t fd;
  int err = 0;
  socklen_t size = sizeof err;
  if (!take_arguments(env, info, 1, arguments) || !take_int64(env, arguments[0], &fd)) return NULL;
  if (getsockopt((int)fd, SOL_SOCKET, SO_ERROR, &err, &size) < 0) err = errno;
  return make_int(env, err);
}

/* setWindowSize(fd, rows, columns) */
napi_value set_window_size(napi_env env, napi_callback_info info) {
  napi_value arguments[3];
  int64_t number[3];
  if (!take_arguments(env, info, 3, arguments)) return NULL;
  for (int i = 0; i < 3; i++)
    if (!take_int64(env, arguments[i], &number[i])) return NULL;
  if (number[1] < 0 || number[1] > UINT16_MAX || number[2] < 0 || number[2] > UINT16_MAX)
    return addon_throw_type(env, "rows and columns are 0 to 65535");
  struct winsize size = {.ws_row = (unsigned short)number[1], .ws_col = (unsigned short)number[2]};
  if (ioctl((int)number[0], TIOCSWINSZ, &size) < 0) return addon_throw_errno(env, errno, "ioctl", NULL);
  return make_int(env, 0);
}

/* receiveDescriptors(fd, buffer, list): reads into the buffer and appends the descriptors that came to the list.
   Returns the bytes, 0 at the end, or -EAGAIN. */
napi_value receive_descriptors(napi_env env, napi_callback_info info) {
  napi_value arguments[3], number;
  int64_t from;
  struct iovec part;
  uint32_t length;
  if (!take_arguments(env, info, 3, arguments) || !take_int64(env, arguments[0], &from)) return NULL;
  if (napi_get_buffer_info(env, arguments[1], &part.iov_base, &part.iov_len) != napi_ok ||
      napi_get_array_length(env, arguments[2], &length) != napi_ok)
    return addon_throw_type(env, "receiveDescriptors takes a descriptor, a Buffer and an array");
  union {
    struct cmsghdr header;
    char space[CMSG_SPACE(MAX_DESCRIPTORS * sizeof(int))];
  } control = {0};
  struct msghdr message = {
      .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
  ssize_t got = recvmsg((int)from, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  if (got < 0 && errno == EAGAIN) return make_int(env, -EAGAIN);
  if (got < 0) return addon_throw_errno(env, errno, "recvmsg", NULL);
  const struct cmsghdr *head = CMSG_FIRSTHDR(&message);
  if (head && head->cmsg_level == SOL_SOCKET && head->cmsg_type == SCM_RIGHTS) {
    size_t count = (head->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count && i < MAX_DESCRIPTORS; i++) {
      int fd;
      memcpy(&fd, CMSG_DATA(head) + i * sizeof fd, sizeof fd);
      if (napi_create_int32(env, fd, &number) != napi_ok ||
          napi_set_element(env, arguments[2], length++, number) != napi_ok)
        close(fd);
    }
  }
  return make_number(env, (double)got);
}

/* One descriptor in node's event loop. */
struct watch {
  uv_poll_t handle;
  napi_env env;
  napi_ref callback;
  napi_async_context context;
};

static void watch_ready(uv_poll_t *handle, int status, int events) {
  struct watch *watch = handle->data;
  napi_env env = watch->env;
  napi_handle_scope scope;
  napi_value function, receiver, argument, error;
  bool pending = false;
  if (napi_open_handle_scope(env, &scope) != napi_ok) return;
  /* An error state is for the next read or write to tell. */
  if (napi_get_reference_value(env, watch->callback, &function) == napi_ok &&
      napi_get_global(env, &receiver) == napi_ok &&
      napi_create_int32(env, status < 0 ? UV_READABLE | UV_WRITABLE : events, &argument) == napi_ok)
    napi_make_callback(env, watch->context, receiver, function, 1, &argument, NULL);
  if (napi_is_exception_pending(env, &pending) == napi_ok && pending &&
      napi_get_and_clear_last_exception(env, &error) == napi_ok)
    napi_fatal_exception(env, error);
  napi_close_handle_scope(env, scope);
}

static void watch_free(uv_handle_t *handle) { free(handle->data); }

static bool take_watch(napi_env env, napi_value value, struct watch **watch) {
  void *pointer;
  if (napi_get_value_external(env, value, &pointer) == napi_ok && pointer) {
    *watch = pointer;
    return true;
  }
  addon_throw_type(env, "not a watch");
  return false;
}

/* watchOpen(fd, callback): the callback gets 1 (readable), 2 (writable) or both. The watch must be closed, once, before
   the descriptor is. */
napi_value watch_open(napi_env env, napi_callback_info info) {
  napi_value arguments[2], name, external;
  int64_t fd;
  uv_loop_t *loop;
  if (!take_arguments(env, info, 2, arguments) || !take_int64(env, arguments[0], &fd)) return NULL;
  struct watch *watch = calloc(1, sizeof *watch);
  if (!watch) return addon_throw_errno(env, ENOMEM, "watch", NULL);
  watch->env = env;
  int failed = napi_get_uv_event_loop(env, &loop) == napi_ok ? uv_poll_init(loop, &watch->handle, (int)fd) : UV_EINVAL;
  if (failed) {
    free(watch);
    return addon_throw_errno(env, -failed, "epoll_ctl", NULL);
  }
  watch->handle.data = watch;
  if (napi_create_reference(env, arguments[1], 1, &watch->callback) != napi_ok ||
      napi_create_string_utf8(env, "berth:watch", NAPI_AUTO_LENGTH, &name) != napi_ok ||
      napi_async_init(env, NULL, name, &watch->context) != napi_ok ||
      napi_create_external(env, watch, NULL, NULL, &external) != napi_ok) {
    uv_close((uv_handle_t *)&watch->handle, watch_free);
    return addon_throw_type(env, "watchOpen takes a descriptor and a function");
  }
  return external;
}

/* watchFor(watch, events): 0 stops it. */
napi_value watch_for(napi_env env, napi_callback_info info) {
  napi_value arguments[2];
  struct watch *watch;
  int64_t events;
  if (!take_arguments(env, info, 2, arguments) || !take_watch(env, arguments[0], &watch) ||
      !take_int64(env, arguments[1], &events))
    return NULL;
  int wanted = (int)events & (UV_READABLE | UV_WRITABLE);
  int failed = wanted ? uv_poll_start(&watch->handle, wanted, watch_ready) : uv_poll_stop(&watch->handle);
  if (failed) return addon_throw_errno(env, -failed, "epoll_ctl", NULL);
  return make_int(env, 0);
}

/* watchClose(watch) */
napi_value watch_close(napi_env env, napi_callback_info info) {
  napi_value arguments[1];
  struct watch *watch;
  if (!take_arguments(env, info, 1, arguments) || !take_watch(env, arguments[0], &watch)) return NULL;
  uv_poll_stop(&watch->handle);
  napi_delete_reference(env, watch->callback);
  napi_async_destroy(env, watch->context);
  uv_close((uv_handle_t *)&watch->handle, watch_free);
  return make_int(env, 0);
}
