/* Gives every file of a tree one value of one extended attribute (a SELinux label), off the caller's thread. */
#include <dirent.h>
#include <stdio.h>
#include <sys/xattr.h>

#include "files.h"

static void close_directory(DIR **dir) {
  int saved = errno;
  if (*dir) closedir(*dir);
  errno = saved;
}
#define cleanup_dir __attribute__((cleanup(close_directory)))

typedef struct folder {
  struct folder *next;
  char path[];
} folder;

typedef struct {
  int root, err;
  folder *todo;
  napi_deferred deferred;
  napi_async_work work;
  char path[PATH_MAX], name[256], value[PATH_MAX];
} job;

static bool is_dot(const char *name) { return name[0] == '.' && (name[1] == 0 || (name[1] == '.' && name[2] == 0)); }

static int push(job *j, const char *path, const char *name) {
  size_t before = strlen(path), size = strlen(name) + 1;
  if (before + 1 + size > PATH_MAX) return -ENAMETOOLONG;
  folder *item = malloc(sizeof *item + before + 1 + size);
  if (!item) return -ENOMEM;
  memcpy(item->path, path, before);
  item->path[before] = '/';
  memcpy(item->path + before + 1, name, size);
  item->next = j->todo;
  j->todo = item;
  return 0;
}

/* There is no call with a directory's descriptor and a name before Linux 6.13: /proc stands in. The file may go, and a
   file system that has no labels (EOPNOTSUPP) keeps what its mount says. */
static int label(const job *j, int folder_fd, const char *name) {
  char path[48 + NAME_MAX];
  snprintf(path, sizeof path, "/proc/self/fd/%d/%.*s", folder_fd, NAME_MAX, name);
  if (lsetxattr(path, j->name, j->value, strlen(j->value) + 1, 0) == 0) return 0;
  return errno == ENOENT || errno == EOPNOTSUPP ? 0 : -errno;
}

static int label_folder(job *j, const char *path) {
  int fd = openat(j->root, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return errno == ENOENT || errno == ENOTDIR || errno == ELOOP ? 0 : -errno;
  cleanup_dir DIR *dir = fdopendir(fd);
  if (!dir) {
    close_fd(&fd);
    return -ENOMEM;
  }
  struct dirent *entry;
  while ((errno = 0, entry = readdir(dir))) {
    if (is_dot(entry->d_name)) continue;
    struct stat st;
    int err = label(j, fd, entry->d_name);
    if (err == 0 && fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode))
      err = push(j, path, entry->d_name);
    if (err < 0) return err;
  }
  return -errno;
}

static void run_job(napi_env env, void *data) {
  (void)env;
  job *j = data;
  struct stat st;
  cleanup_fd int root = open(j->path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
  j->root = root;
  if (root < 0 || fstat(root, &st) < 0) {
    j->err = -errno;
    return;
  }
  if (fsetxattr(root, j->name, j->value, strlen(j->value) + 1, 0) < 0 && errno != EOPNOTSUPP) j->err = -errno;
  if (j->err == 0 && S_ISDIR(st.st_mode)) j->err = push(j, ".", ".");
  while (j->todo) {
    folder *item = j->todo;
    j->todo = item->next;
    if (j->err == 0) j->err = label_folder(j, item->path);
    free(item);
  }
}

static void end_job(napi_env env, napi_status status, void *data) {
  job *j = data;
  napi_value value = NULL;
  if (status != napi_ok && j->err == 0) j->err = -ECANCELED;
  if (j->err < 0) {
    addon_throw_errno(env, -j->err, "label", j->path);
    napi_get_and_clear_last_exception(env, &value);
    napi_reject_deferred(env, j->deferred, value);
  } else {
    napi_get_undefined(env, &value);
    napi_resolve_deferred(env, j->deferred, value);
  }
  napi_delete_async_work(env, j->work);
  free(j);
}

static bool take_label(napi_env env, napi_callback_info info, job *j) {
  napi_value args[3];
  char name[PATH_MAX];
  if (!take_arguments(env, info, 3, args) || !take_path(env, args[0], j->path) || !take_path(env, args[1], name) ||
      !take_path(env, args[2], j->value))
    return false;
  if (strlen(name) < sizeof j->name) {
    memcpy(j->name, name, strlen(name) + 1);
    return true;
  }
  addon_throw_type(env, "The name of an extended attribute has at most 255 characters");
  return false;
}

/* labelTree(path, attribute, value): of `path`, no link, and all below it; a promise. */
static napi_value start_label(napi_env env, napi_callback_info info) {
  napi_value promise, name;
  job *j = calloc(1, sizeof *j);
  if (!j) return addon_throw_errno(env, ENOMEM, "allocate", NULL);
  if (!take_label(env, info, j)) {
    free(j);
    return NULL;
  }
  if (napi_create_string_utf8(env, "berth:label", NAPI_AUTO_LENGTH, &name) == napi_ok &&
      napi_create_promise(env, &j->deferred, &promise) == napi_ok &&
      napi_create_async_work(env, NULL, name, run_job, end_job, j, &j->work) == napi_ok &&
      napi_queue_async_work(env, j->work) == napi_ok)
    return promise;
  free(j);
  return addon_throw_errno(env, ENOMEM, "queue a labelling", NULL);
}

bool register_label(napi_env env, napi_value exports) {
  static const addon_function table[] = {{"labelTree", start_label}};
  return addon_register(env, exports, table, sizeof table / sizeof *table);
}
