/* Writes a small file, or makes directories, in one piece of work off the caller's thread. node:fs takes a turn of the
   event loop for each of open, write, close and rename. */
#include "write.h"

#include <stdio.h>

#include "content.h"
#include "held.h"
#include "work.h"

typedef struct {
  addon_work work;
  mode_t mode;
  bool sync;
  size_t size;
  char *data;
  char path[PATH_MAX], temporary[PATH_MAX]; /* temporary empty: the file itself is written */
} job;

static int write_file(addon_work *work) {
  const job *j = (job *)work;
  bool replace = *j->temporary != 0;
  const char *path = replace ? j->temporary : j->path;
  int flags = O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC | (replace ? O_EXCL : O_TRUNC);
  cleanup_fd int fd = open(path, flags, j->mode);
  if (fd < 0) return -errno;
  int err = fchmod(fd, j->mode) < 0 ? -errno : 0; /* whatever the umask is */
  if (!err) err = write_all(fd, j->data, j->size);
  if (!err && j->sync && fdatasync(fd) < 0) err = -errno;
  if (!err && replace && rename(path, j->path) < 0) err = -errno;
  if (err && replace) unlink(path);
  return err;
}

static int make_directory(addon_work *work) {
  const job *j = (job *)work;
  if (mkdir(j->path, j->mode) < 0 && errno != EEXIST) return -errno;
  return chmod(j->path, j->mode) < 0 ? -errno : 0;
}

/* Each name in data ends with a NUL; the parents come before what is in them. */
static int make_directories(addon_work *work) {
  job *j = (job *)work;
  for (const char *path = j->data, *end = j->data + j->size; path < end; path += strlen(path) + 1) {
    snprintf(j->path, sizeof j->path, "%s", path); /* what an error names */
    if (mkdir(path, j->mode) == 0) {
      if (chmod(path, j->mode) < 0) return -errno;
    } else if (errno != EEXIST) {
      return -errno;
    }
  }
  return 0;
}

static void free_job(addon_work *work) {
  free(((job *)work)->data);
  free(work);
}

static job *new_job(napi_env env, const char *what, int (*run)(addon_work *)) {
  job *j = calloc(1, sizeof *j);
  if (!j) addon_throw_errno(env, ENOMEM, "allocate", NULL);
  else j->work = (addon_work){.run = run, .release = free_job, .what = what, .path = j->path};
  return j;
}

static bool take_mode(napi_env env, napi_value value, mode_t *mode) {
  int64_t number;
  if (!take_int64(env, value, &number)) return false;
  if (number < 0 || number > 07777) {
    addon_throw_type(env, "mode is out of range");
    return false;
  }
  *mode = (mode_t)number;
  return true;
}

static bool take_data(napi_env env, napi_value value, job *j) {
  void *data;
  if (napi_get_buffer_info(env, value, &data, &j->size) != napi_ok) {
    addon_throw_type(env, "data must be a buffer");
    return false;
  }
  j->data = malloc(j->size ? j->size : 1);
  if (!j->data) {
    addon_throw_errno(env, ENOMEM, "allocate", NULL);
    return false;
  }
  if (j->size) memcpy(j->data, data, j->size);
  return true;
}

/* writeFile(path, temporary, data, mode, sync): a promise. With a temporary name, path is replaced in one step. */
napi_value write_call(napi_env env, napi_callback_info info) {
  napi_value args[5];
  job *j = new_job(env, "write", write_file);
  if (!j) return NULL;
  if (!take_arguments(env, info, 5, args) || !take_path(env, args[0], j->path) ||
      !take_path(env, args[1], j->temporary) || !take_data(env, args[2], j) || !take_mode(env, args[3], &j->mode) ||
      napi_get_value_bool(env, args[4], &j->sync) != napi_ok)
    return addon_drop(&j->work);
  return addon_start(env, &j->work);
}

/* makeDirectory(path, mode): a promise; one that exists gets the mode. */
napi_value directory_call(napi_env env, napi_callback_info info) {
  napi_value args[2];
  job *j = new_job(env, "mkdir", make_directory);
  if (!j) return NULL;
  if (!take_arguments(env, info, 2, args) || !take_path(env, args[0], j->path) || !take_mode(env, args[1], &j->mode))
    return addon_drop(&j->work);
  return addon_start(env, &j->work);
}

/* makeDirectories(paths, mode): a promise; the paths in a buffer, each with a NUL behind it. What exists is left alone. */
napi_value directories_call(napi_env env, napi_callback_info info) {
  napi_value args[2];
  job *j = new_job(env, "mkdir", make_directories);
  if (!j) return NULL;
  if (!take_arguments(env, info, 2, args) || !take_data(env, args[0], j) || !take_mode(env, args[1], &j->mode))
    return addon_drop(&j->work);
  if (j->size > 0 && j->data[j->size - 1] != 0) {
    addon_throw_type(env, "the last path has no end");
    return addon_drop(&j->work);
  }
  return addon_start(env, &j->work);
}
