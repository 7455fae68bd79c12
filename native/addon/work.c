/* Work off the caller's thread, and its promise. */
#include "work.h"

#include <errno.h>
#include <stdlib.h>

napi_value addon_drop(addon_work *work) {
  if (work->release) work->release(work);
  else free(work);
  return NULL;
}

static void run(napi_env env, void *data) {
  (void)env;
  addon_work *work = data;
  work->err = work->run(work);
}

static void end(napi_env env, napi_status status, void *data) {
  addon_work *work = data;
  napi_value value = NULL;
  if (status != napi_ok && work->err == 0) work->err = -ECANCELED;
  if (work->err < 0) {
    addon_throw_errno(env, -work->err, work->what, work->path);
    napi_get_and_clear_last_exception(env, &value);
    napi_reject_deferred(env, work->deferred, value);
  } else {
    if (work->result) value = work->result(env, work);
    else napi_get_undefined(env, &value);
    napi_resolve_deferred(env, work->deferred, value);
  }
  napi_delete_async_work(env, work->handle);
  addon_drop(work);
}

napi_value addon_start(napi_env env, addon_work *work) {
  napi_value promise, name;
  if (napi_create_string_utf8(env, work->what, NAPI_AUTO_LENGTH, &name) == napi_ok &&
      napi_create_promise(env, &work->deferred, &promise) == napi_ok &&
      napi_create_async_work(env, NULL, name, run, end, work, &work->handle) == napi_ok &&
      napi_queue_async_work(env, work->handle) == napi_ok)
    return promise;
  addon_drop(work);
  return addon_throw_errno(env, ENOMEM, "queue the work to", NULL);
}
