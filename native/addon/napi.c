/* What every function that JavaScript calls does with N-API: arguments in, values and errors out. */
#include "napi.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

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

bool take_arguments(napi_env env, napi_callback_info info, size_t count, napi_value *values) {
  size_t given = count;
  if (napi_get_cb_info(env, info, &given, values, NULL, NULL) != napi_ok) return false;
  if (given >= count) return true;
  addon_throw_type(env, "Too few arguments");
  return false;
}

static bool refuse_path(napi_env env, int err, const char *what) {
  addon_throw_errno(env, err, what, NULL);
  return false;
}

static bool refuse_type(napi_env env) {
  addon_throw_type(env, "A path must be a string");
  return false;
}

/* The whole length comes first: what N-API copies of a longer string ends before the first character that does not fit. */
bool take_path(napi_env env, napi_value value, char text[PATH_MAX]) {
  size_t length = 0;
  if (napi_get_value_string_utf8(env, value, NULL, 0, &length) != napi_ok) return refuse_type(env);
  if (length >= PATH_MAX) return refuse_path(env, ENAMETOOLONG, "path");
  if (napi_get_value_string_utf8(env, value, text, PATH_MAX, &length) != napi_ok) return refuse_type(env);
  return !memchr(text, 0, length) || refuse_path(env, EINVAL, "path with a NUL");
}

/* Read as UTF-16: N-API would make a byte of any character by cutting its upper half off, a slash of U+012F. */
bool take_bytes_path(napi_env env, napi_value value, char text[PATH_MAX]) {
  char16_t characters[PATH_MAX];
  size_t length = 0;
  if (napi_get_value_string_utf16(env, value, NULL, 0, &length) != napi_ok) return refuse_type(env);
  if (length >= PATH_MAX) return refuse_path(env, ENAMETOOLONG, "path");
  if (napi_get_value_string_utf16(env, value, characters, PATH_MAX, &length) != napi_ok) return refuse_type(env);
  for (size_t i = 0; i < length; i++) {
    if (characters[i] == 0 || characters[i] > 0xff)
      return refuse_path(env, EINVAL, "path with a NUL, or with what is no byte");
    text[i] = (char)characters[i];
  }
  text[length] = 0;
  return true;
}

bool take_int64(napi_env env, napi_value value, int64_t *number) {
  if (napi_get_value_int64(env, value, number) == napi_ok) return true;
  addon_throw_type(env, "A number is missing");
  return false;
}

napi_value make_int(napi_env env, int number) {
  napi_value value;
  return napi_create_int32(env, number, &value) == napi_ok ? value : NULL;
}

napi_value make_number(napi_env env, double number) {
  napi_value value;
  return napi_create_double(env, number, &value) == napi_ok ? value : NULL;
}
