/*
 * Addresses of names. Node looks names up on the threads of its pool, two at a time: a name whose servers do not answer
 * holds one for half a minute, and whoever comes after it waits. Here each name has a thread of its own; the caller bounds
 * how many there are.
 */
#include "lookup.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "thread.h"

enum { longest_name = 253, most_addresses = 32 };

typedef struct {
  napi_deferred deferred;
  napi_threadsafe_function done;
  char name[longest_name + 1];
  int err; /* of getaddrinfo(3), or of the system if that is EAI_SYSTEM */
  bool system;
  size_t count;
  char addresses[most_addresses][INET6_ADDRSTRLEN];
} lookup;

static bool as_text(const struct addrinfo *info, char text[INET6_ADDRSTRLEN]) {
  const void *address = NULL;
  if (info->ai_family == AF_INET) address = &((const struct sockaddr_in *)info->ai_addr)->sin_addr;
  if (info->ai_family == AF_INET6) address = &((const struct sockaddr_in6 *)info->ai_addr)->sin6_addr;
  return address && inet_ntop(info->ai_family, address, text, INET6_ADDRSTRLEN) != NULL;
}

/* No AI_ADDRCONFIG: a host with loopback alone would find no address for its own names. */
static void *run(void *data) {
  lookup *l = data;
  struct addrinfo *found = NULL;
  const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
  l->err = getaddrinfo(l->name, NULL, &hints, &found);
  if (l->err == EAI_SYSTEM) {
    l->system = true;
    l->err = errno;
  }
  for (const struct addrinfo *info = found; info && l->count < most_addresses; info = info->ai_next)
    if (as_text(info, l->addresses[l->count])) l->count++;
  if (found) freeaddrinfo(found);
  napi_threadsafe_function done = l->done; /* l is freed by whom this call wakes */
  if (napi_call_threadsafe_function(done, l, napi_tsfn_blocking) != napi_closing)
    napi_release_threadsafe_function(done, napi_tsfn_release);
  return NULL;
}

static napi_value failure(napi_env env, const lookup *l) {
  napi_value message, error;
  const char *why = l->system ? strerror(l->err) : gai_strerror(l->err);
  if (napi_create_string_utf8(env, why, NAPI_AUTO_LENGTH, &message) != napi_ok) return NULL;
  return napi_create_error(env, NULL, message, &error) == napi_ok ? error : NULL;
}

static napi_value success(napi_env env, const lookup *l) {
  napi_value list, text;
  if (napi_create_array_with_length(env, l->count, &list) != napi_ok) return NULL;
  for (uint32_t i = 0; i < l->count; i++) {
    if (napi_create_string_latin1(env, l->addresses[i], NAPI_AUTO_LENGTH, &text) != napi_ok) return NULL;
    napi_set_element(env, list, i, text);
  }
  return list;
}

/* On JavaScript's thread; `env` is NULL when that ends meanwhile. */
static void settle(napi_env env, napi_value callback, void *context, void *data) {
  (void)callback, (void)context;
  lookup *l = data;
  if (env) {
    if (l->err) napi_reject_deferred(env, l->deferred, failure(env, l));
    else napi_resolve_deferred(env, l->deferred, success(env, l));
  }
  free(l);
}

/* lookup(name): a promise of its addresses as texts, in the order of getaddrinfo(3) (RFC 6724). */
napi_value lookup_call(napi_env env, napi_callback_info info) {
  napi_value args[1], promise, what;
  char name[PATH_MAX];
  if (!take_arguments(env, info, 1, args) || !take_path(env, args[0], name)) return NULL;
  size_t length = strlen(name);
  if (length > longest_name) return addon_throw_errno(env, ENAMETOOLONG, "look up", name);
  lookup *l = calloc(1, sizeof *l);
  if (!l) return addon_throw_errno(env, ENOMEM, "look up", name);
  memcpy(l->name, name, length + 1);
  if (napi_create_string_utf8(env, "lookup", NAPI_AUTO_LENGTH, &what) != napi_ok ||
      napi_create_threadsafe_function(env, NULL, NULL, what, 0, 1, NULL, NULL, NULL, settle, &l->done) != napi_ok) {
    free(l);
    return addon_throw_errno(env, ENOMEM, "look up", name);
  }
  int err = napi_create_promise(env, &l->deferred, &promise) == napi_ok ? addon_thread(NULL, run, l) : ENOMEM;
  if (!err) return promise;
  napi_release_threadsafe_function(l->done, napi_tsfn_abort);
  free(l);
  return addon_throw_errno(env, err, "look up", name);
}
