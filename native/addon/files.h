/* What the files of the addon share that work on files: arguments and descriptors. */
#ifndef BERTH_FILES_H
#define BERTH_FILES_H
#include "addon.h"
#include "held.h"
#include "root.h"

/* The longest xattr value the kernel takes is 64 KiB; a handful of them fit. */
#define XATTRS_MAX (1024u * 1024u)

/* Reads all arguments; false with a TypeError pending when there are fewer than `count`. */
bool take_arguments(napi_env env, napi_callback_info info, size_t count, napi_value *values);

/* Copies a string argument; false with an exception pending if it is no string, holds a NUL or does not fit. */
bool take_path(napi_env env, napi_value value, char text[PATH_MAX]);

/* The same for a string whose characters are bytes (latin1), none above 0xff: a name from an archive, in whatever encoding. */
bool take_bytes_path(napi_env env, napi_value value, char text[PATH_MAX]);

bool take_int64(napi_env env, napi_value value, int64_t *number);

napi_value make_int(napi_env env, int number);
napi_value make_number(napi_env env, double number);

bool register_unpack(napi_env env, napi_value exports);
bool register_usage(napi_env env, napi_value exports);

#endif
