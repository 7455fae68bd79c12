/* A thread of the addon's own, for what neither JavaScript's thread nor the pool's may wait for. */
#include "thread.h"

#include <signal.h>
#include <stddef.h>

enum { STACK = 512 * 1024 };

static int start(pthread_t *thread, const pthread_attr_t *attributes, void *(*body)(void *), void *data) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before); /* a thread begins with the mask of who starts it */
  int err = pthread_create(thread, attributes, body, data);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return err;
}

int addon_thread(pthread_t *joinable, void *(*body)(void *), void *data) {
  pthread_t detached;
  pthread_attr_t attributes;
  int err = pthread_attr_init(&attributes);
  if (err) return err;
  err = pthread_attr_setstacksize(&attributes, STACK);
  if (!err && !joinable) err = pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  if (!err) err = start(joinable ? joinable : &detached, &attributes, body, data);
  pthread_attr_destroy(&attributes);
  return err;
}
