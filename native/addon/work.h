/* Work off the caller's thread, and its promise. */
#ifndef BERTH_WORK_H
#define BERTH_WORK_H
#include "napi.h"

/* One piece of work, the first member of what it needs. `path` appears in its error, after `what`. */
typedef struct addon_work {
  int (*run)(struct addon_work *work); /* on another thread; 0 or -errno */
  napi_value (*result)(napi_env env, struct addon_work *work); /* what the promise resolves to; NULL: undefined */
  void (*release)(struct addon_work *work); /* NULL: free */
  const char *what, *path;
  /* On a thread of its own. It takes as long as others made what it works on; the pool's threads, of which there are four,
     read and write everybody's files. */
  bool apart;
  int err;
  napi_deferred deferred;
  napi_async_work handle;
  napi_threadsafe_function done; /* of one apart */
} addon_work;

/* Frees a piece of work that is not started. Returns NULL: the exception is pending. */
napi_value addon_drop(addon_work *work);

/* A promise. Takes the work, whatever comes of it. */
napi_value addon_start(napi_env env, addon_work *work);

#endif
