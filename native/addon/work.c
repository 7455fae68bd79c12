/* Work off the caller's thread, and its promise. */
#include "work.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/time.h>

#include "thread.h"

/* Of threads apart: however many they are, they leave the processor to the loop. */
enum { patience = 10 };

napi_value addon_drop(addon_work *work) {
  if (work->release) work->release(work);
  else free(work);
  return NULL;
}

static void settle(napi_env env, addon_work *work) {
  napi_value value = NULL;
  if (work->err < 0) {
    addon_throw_errno(env, -work->err, work->what, work->path);
    napi_get_and_clear_last_exception(env, &value);
    napi_reject_deferred(env, work->deferred, value);
  } else {
    if (work->result) value = work->result(env, work);
    else napi_get_undefined(env, &value);
    napi_resolve_deferred(env, work->deferred, value);
  }
  addon_drop(work);
}

static void run(napi_env env, void *data) {
  (void)env;
  addon_work *work = data;
  work->err = work->run(work);
}

static void end(napi_env env, napi_status status, void *data) {
  addon_work *work = data;
  if (status != napi_ok && work->err == 0) work->err = -ECANCELED;
  napi_delete_async_work(env, work->handle);
  settle(env, work);
}

static void *run_apart(void *data) {
  addon_work *work = data;
  napi_threadsafe_function done = work->done; /* the work is freed by whom the call wakes */
  setpriority(PRIO_PROCESS, 0, patience); /* of this thread alone (setpriority(2), BUGS) */
  work->err = work->run(work);
  /* Closing: JavaScript's thread ends, and holds the function no longer. */
  if (napi_call_threadsafe_function(done, work, napi_tsfn_blocking) != napi_closing)
    napi_release_threadsafe_function(done, napi_tsfn_release);
  return NULL;
}

/* On JavaScript's thread; `env` is NULL when that ends meanwhile. */
static void end_apart(napi_env env, napi_value callback, void *context, void *data) {
  (void)callback, (void)context;
  if (env) settle(env, data);
  else addon_drop(data);
}

static bool start_apart(napi_env env, addon_work *work, napi_value name) {
  if (napi_create_threadsafe_function(env, NULL, NULL, name, 0, 1, NULL, NULL, NULL, end_apart, &work->done) != napi_ok)
    return false;
  if (addon_thread(NULL, run_apart, work) == 0) return true;
  napi_release_threadsafe_function(work->done, napi_tsfn_abort);
  return false;
}

static bool start_in_pool(napi_env env, addon_work *work, napi_value name) {
  return napi_create_async_work(env, NULL, name, run, end, work, &work->handle) == napi_ok &&
         napi_queue_async_work(env, work->handle) == napi_ok;
}

napi_value addon_start(napi_env env, addon_work *work) {
  napi_value promise, name;
  if (napi_create_string_utf8(env, work->what, NAPI_AUTO_LENGTH, &name) == napi_ok &&
      napi_create_promise(env, &work->deferred, &promise) == napi_ok &&
      (work->apart ? start_apart : start_in_pool)(env, work, name))
    return promise;
  addon_drop(work);
  return addon_throw_errno(env, ENOMEM, "queue the work to", NULL);
}
