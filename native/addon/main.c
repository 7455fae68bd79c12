#include "addon.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

bool addon_register(napi_env env, napi_value exports, const addon_function *table, size_t count) {
  for (size_t i = 0; i < count; i++) {
    napi_value function;
    if (napi_create_function(env, table[i].name, NAPI_AUTO_LENGTH, table[i].call, NULL, &function) != napi_ok ||
        napi_set_named_property(env, exports, table[i].name, function) != napi_ok)
      return false;
  }
  return true;
}

static void set_string(napi_env env, napi_value object, const char *name, const char *text) {
  napi_value value;
  if (text && napi_create_string_utf8(env, text, NAPI_AUTO_LENGTH, &value) == napi_ok)
    napi_set_named_property(env, object, name, value);
}

napi_value addon_throw_errno(napi_env env, int err, const char *what, const char *path) {
  char message[4600];
  const char *code = strerrorname_np(err);
  if (!code) code = "EUNKNOWN";
  snprintf(message, sizeof message, "%s: %s, %s%s%.4096s%s", code, strerror(err), what, path ? " '" : "",
           path ? path : "", path ? "'" : "");
  napi_value text, error, number;
  if (napi_create_string_utf8(env, message, NAPI_AUTO_LENGTH, &text) != napi_ok ||
      napi_create_error(env, NULL, text, &error) != napi_ok) {
    napi_throw_error(env, code, message);
    return NULL;
  }
  set_string(env, error, "code", code);
  set_string(env, error, "syscall", what);
  set_string(env, error, "path", path);
  if (napi_create_int32(env, -err, &number) == napi_ok) napi_set_named_property(env, error, "errno", number);
  napi_throw(env, error);
  return NULL;
}

napi_value addon_throw_type(napi_env env, const char *message) {
  napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", message);
  return NULL;
}

NAPI_MODULE_INIT() {
  if (!register_files(env, exports) || !register_mounts(env, exports) || !register_idmap(env, exports) ||
      !register_copy(env, exports) || !register_streams(env, exports) || !register_spawn(env, exports) ||
      !register_write(env, exports))
    return NULL;
  return exports;
}
