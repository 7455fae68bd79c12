/* A thread of the addon's own, for what neither JavaScript's thread nor the pool's may wait for. */
#ifndef BERTH_THREAD_H
#define BERTH_THREAD_H
#include <pthread.h>

/*
 * Starts one with a small stack, which takes no signals: those are for Node's threads. Where `joinable` is NULL nobody waits for its
 * end. 0 or an errno.
 */
int addon_thread(pthread_t *joinable, void *(*body)(void *), void *data);

#endif
