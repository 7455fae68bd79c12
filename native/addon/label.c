/* Gives every file of a tree one value of one extended attribute (a SELinux label), off the caller's thread. */
#include <stdio.h>
#include <sys/xattr.h>

#include "work.h"

typedef struct {
  addon_work work;
  int root;
  folder *todo;
  char path[PATH_MAX], name[256], value[PATH_MAX];
} job;

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
      err = folder_push(&j->todo, path, entry->d_name);
    if (err < 0) return err;
  }
  return -errno;
}

static int run_label(addon_work *work) {
  job *j = (job *)work;
  struct stat st;
  cleanup_fd int root = open(j->path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
  j->root = root;
  if (root < 0 || fstat(root, &st) < 0) return -errno;
  int err = fsetxattr(root, j->name, j->value, strlen(j->value) + 1, 0) < 0 && errno != EOPNOTSUPP ? -errno : 0;
  if (err == 0 && S_ISDIR(st.st_mode)) err = folder_push(&j->todo, ".", ".");
  for (folder *item; (item = folder_pop(&j->todo));) {
    if (err == 0) err = label_folder(j, item->path);
    free(item);
  }
  return err;
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
  job *j = calloc(1, sizeof *j);
  if (!j) return addon_throw_errno(env, ENOMEM, "allocate", NULL);
  j->work = (addon_work){.run = run_label, .what = "label", .path = j->path};
  return take_label(env, info, j) ? addon_start(env, &j->work) : addon_drop(&j->work);
}

bool register_label(napi_env env, napi_value exports) {
  static const addon_function table[] = {{"labelTree", start_label}};
  return addon_register(env, exports, table, sizeof table / sizeof *table);
}
