/* Datagrams on unix sockets, which Node does not have: sd_notify(3) is one. */
#include "notify.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* Never waits: a supervisor that does not read is not worth a pod's time. Returns 0 or -errno. */
static int send_to(const char *path, const char *text) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  size_t length = strlen(path);
  if (length == 0 || length >= sizeof address.sun_path) return -ENAMETOOLONG;
  memcpy(address.sun_path, path, length);
  if (path[0] == '@') address.sun_path[0] = '\0'; /* the abstract namespace, unix(7) */
  int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return -errno;
  socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
  const struct sockaddr *to = (const struct sockaddr *)&address;
  int err = sendto(fd, text, strlen(text), MSG_DONTWAIT | MSG_NOSIGNAL, to, size) < 0 ? -errno : 0;
  close(fd);
  return err;
}

/* notify(socket: string, text: string): void */
napi_value notify_call(napi_env env, napi_callback_info info) {
  napi_value args[2];
  char path[PATH_MAX], text[PATH_MAX];
  if (!take_arguments(env, info, 2, args) || !take_path(env, args[0], path) || !take_path(env, args[1], text))
    return NULL;
  int err = send_to(path, text);
  return err < 0 ? addon_throw_errno(env, -err, "sendto", path) : NULL;
}
