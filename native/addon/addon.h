/* What the addon's files share. Each file adds its functions to `exports` in its own register_* function. */
#ifndef BERTH_ADDON_H
#define BERTH_ADDON_H
#include <node_api.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
  const char *name;
  napi_callback call;
} addon_function;

/* Adds each function to exports; false (with an exception pending) if N-API refuses. */
bool addon_register(napi_env env, napi_value exports, const addon_function *table, size_t count);

/* Throws an Error as node:fs does: message "<code>: <what> '<path>'", code "ENOENT", errno -2, syscall, path. */
napi_value addon_throw_errno(napi_env env, int err, const char *what, const char *path);

/* Throws a TypeError: the caller passed something that is not what the function takes. */
napi_value addon_throw_type(napi_env env, const char *message);

bool register_files(napi_env env, napi_value exports);
bool register_mounts(napi_env env, napi_value exports);
bool register_streams(napi_env env, napi_value exports);
bool register_idmap(napi_env env, napi_value exports);
bool register_copy(napi_env env, napi_value exports);
bool register_spawn(napi_env env, napi_value exports);
bool register_write(napi_env env, napi_value exports);

#endif
