/* What every function that JavaScript calls does with N-API: arguments in, values and errors out. */
#ifndef BERTH_NAPI_H
#define BERTH_NAPI_H
#include <limits.h>
#include <node_api.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A function that JavaScript calls; main.c has their names. */
typedef napi_value addon_call(napi_env env, napi_callback_info info);

/* Reads all arguments; false with a TypeError pending when there are fewer than `count`. */
bool take_arguments(napi_env env, napi_callback_info info, size_t count, napi_value *values);

/* Copies a string argument; false with an exception pending if it is no string, holds a NUL or does not fit. */
bool take_path(napi_env env, napi_value value, char text[PATH_MAX]);

/* The same for a string whose characters are bytes (latin1), none above 0xff: a name from an archive, in whatever encoding. */
bool take_bytes_path(napi_env env, napi_value value, char text[PATH_MAX]);

bool take_int64(napi_env env, napi_value value, int64_t *number);

napi_value make_int(napi_env env, int number);
napi_value make_number(napi_env env, double number);

/* Throws an Error as node:fs does: message "<code>: <what> '<path>'", code "ENOENT", errno -2, syscall, path. */
napi_value addon_throw_errno(napi_env env, int err, const char *what, const char *path);

/* Throws a TypeError: the caller passed something that is not what the function takes. */
napi_value addon_throw_type(napi_env env, const char *message);

#endif
