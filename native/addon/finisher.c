/*
 * New small files get their content and attributes on a thread beside the caller's, which makes the next ones meanwhile: of
 * what a small file costs, making its name is one half and this is the other. Nothing here goes by a name, so that it may
 * be done at any time after. Only with many files does it pay to wake a thread: below that, the caller does it.
 */
#include "finisher.h"

#include <pthread.h>

#include "content.h"
#include "held.h"
#include "thread.h"

/* Files that wait before the thread is woken: a wake costs as much as one of them. */
enum { WORTH_A_WAKE = 16 };
/* What may wait: beyond, the caller does it, so that neither descriptors nor memory grow. */
enum { MOST_FILES = 64, MOST_BYTES = 1024 * 1024 };

/* A file, with a copy of all that its content points to behind it. */
typedef struct job {
  struct job *next;
  int fd;
  file_content content;
  attributes attributes;
  size_t bytes;
  uint8_t copies[];
} job;

struct finisher {
  pthread_mutex_t lock;
  pthread_cond_t changed; /* there is something to do, nothing is left, or it is to stop */
  pthread_t thread;
  bool has_thread, stops, is_busy;
  job *first, **end;
  size_t files, bytes;
  int err;
  char *failed; /* the path of the file that err is of */
};

static int fill(int fd, const file_content *content) {
  int err = write_all(fd, content->data, content->size);
  if (err == 0) err = apply_attributes(fd, content->attributes);
  if (close(fd) < 0 && err == 0) err = -errno; /* a full disk may show here */
  return err;
}

static uint8_t *copy_behind(uint8_t **at, const void *from, size_t size) {
  uint8_t *copy = *at;
  if (size) memcpy(copy, from, size);
  *at += size;
  return copy;
}

static job *new_job(int fd, const file_content *content) {
  size_t name = strlen(content->path) + 1, xattrs = content->attributes->xattrs_length;
  size_t bytes = name + xattrs + content->size;
  job *j = malloc(sizeof *j + bytes);
  if (!j) return NULL;
  uint8_t *at = j->copies;
  *j = (job){.fd = fd, .bytes = bytes, .attributes = *content->attributes};
  j->content = (file_content){
      .path = (const char *)copy_behind(&at, content->path, name),
      .data = copy_behind(&at, content->data, content->size),
      .size = content->size,
      .attributes = &j->attributes,
  };
  j->attributes.xattrs = copy_behind(&at, content->attributes->xattrs, xattrs);
  return j;
}

static void free_job(job *j) {
  if (j->fd >= 0) close(j->fd);
  free(j);
}

/* The first in the queue, out of it; NULL: none. The lock is held. */
static job *take_job(finisher *f) {
  job *j = f->first;
  if (!j) return NULL;
  f->first = j->next;
  if (!f->first) f->end = &f->first;
  f->files--;
  f->bytes -= j->bytes;
  return j;
}

/* Does one, without the lock meanwhile. After a failure the rest is only dropped. */
static void do_job(finisher *f, job *j) {
  int err = 0;
  if (f->err == 0) {
    pthread_mutex_unlock(&f->lock);
    err = fill(j->fd, &j->content);
    j->fd = -1;
    pthread_mutex_lock(&f->lock);
  }
  if (err < 0 && f->err == 0) {
    f->failed = strdup(j->content.path);
    f->err = err;
  }
  free_job(j);
}

static void *run(void *argument) {
  finisher *f = argument;
  pthread_mutex_lock(&f->lock);
  while (!f->stops) {
    job *j = take_job(f);
    if (!j) {
      pthread_cond_wait(&f->changed, &f->lock);
      continue;
    }
    f->is_busy = true;
    do_job(f, j);
    f->is_busy = false;
    if (!f->first) pthread_cond_broadcast(&f->changed);
  }
  pthread_mutex_unlock(&f->lock);
  return NULL;
}

static finisher *new_finisher(void) {
  finisher *f = calloc(1, sizeof *f);
  if (!f) return NULL;
  f->end = &f->first;
  pthread_mutex_init(&f->lock, NULL);
  pthread_cond_init(&f->changed, NULL);
  return f;
}

/* Enough wait to be worth it. Without a thread, finish_files does all. The lock is held. */
static void wake(finisher *f) {
  if (f->has_thread) pthread_cond_broadcast(&f->changed);
  else f->has_thread = addon_thread(&f->thread, run, f) == 0;
}

/* False: there is no room, and nothing was taken. */
static bool put_off(finisher *f, int fd, const file_content *content) {
  size_t bytes = content->size + content->attributes->xattrs_length;
  bool fits = f && f->files < MOST_FILES && f->bytes + bytes <= MOST_BYTES;
  job *j = fits ? new_job(fd, content) : NULL;
  if (!j) return false;
  *f->end = j;
  f->end = &j->next;
  f->files++;
  f->bytes += j->bytes;
  if (f->files >= WORTH_A_WAKE && !f->is_busy) wake(f);
  return true;
}

int finish_file(finisher **place, int fd, const file_content *content) {
  if (!*place) *place = new_finisher();
  finisher *f = *place;
  if (f) pthread_mutex_lock(&f->lock);
  bool taken = put_off(f, fd, content);
  if (f) pthread_mutex_unlock(&f->lock);
  return taken ? 0 : fill(fd, content);
}

int finish_files(finisher *f, const char **path) {
  *path = NULL;
  if (!f) return 0;
  pthread_mutex_lock(&f->lock);
  for (job *j; (j = take_job(f));) do_job(f, j); /* rather than to wait for another to do it */
  while (f->is_busy) pthread_cond_wait(&f->changed, &f->lock);
  *path = f->failed;
  int err = f->err;
  pthread_mutex_unlock(&f->lock);
  return err;
}

bool finisher_failed(finisher *f) {
  if (!f) return false;
  pthread_mutex_lock(&f->lock);
  bool failed = f->err < 0;
  pthread_mutex_unlock(&f->lock);
  return failed;
}

void free_finisher(finisher *f) {
  if (!f) return;
  pthread_mutex_lock(&f->lock);
  f->stops = true;
  pthread_cond_broadcast(&f->changed);
  pthread_mutex_unlock(&f->lock);
  if (f->has_thread) pthread_join(f->thread, NULL);
  for (job *j; (j = take_job(f));) free_job(j);
  pthread_cond_destroy(&f->changed);
  pthread_mutex_destroy(&f->lock);
  free(f->failed);
  free(f);
}
