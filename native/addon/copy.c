/* Copies a tree with its owners, modes, attributes and times, off the caller's thread. */
#include <sys/sendfile.h>

#include "unpack.h"
#include "work.h"

typedef struct {
  int from, to; /* the roots */
  folder *todo, *done;
} copy;

static int copy_file(int in_folder, int out_folder, const char *name) {
  cleanup_fd int in = openat(in_folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
  if (in < 0) return -errno;
  cleanup_fd int out = openat(out_folder, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (out < 0) return -errno;
  for (;;) {
    ssize_t moved = sendfile(out, in, NULL, 1u << 30);
    if (moved < 0) return -errno;
    if (moved == 0) return copy_attributes(in, out);
  }
}

static int copy_link(int in, int out, const char *name) {
  char target[PATH_MAX];
  ssize_t size = readlinkat(in, name, target, sizeof target);
  if (size < 0) return -errno;
  if (size == sizeof target) return -ENAMETOOLONG;
  target[size] = 0;
  return symlinkat(target, out, name) < 0 ? -errno : 0;
}

/* What has no content: the node itself. A socket without its server is of no use to anybody. */
static int copy_node(int out, const char *name, const struct stat *st) {
  if (S_ISSOCK(st->st_mode)) return 0;
  if (mknodat(out, name, st->st_mode & (S_IFMT | 07777), st->st_rdev) < 0) return -errno;
  return 0;
}

static int copy_entry(copy *c, const char *path, int in, int out, const char *name) {
  struct stat st;
  if (fstatat(in, name, &st, AT_SYMLINK_NOFOLLOW) < 0) return -errno;
  if (S_ISREG(st.st_mode)) return copy_file(in, out, name);
  if (S_ISDIR(st.st_mode)) return mkdirat(out, name, 0700) < 0 ? -errno : folder_push(&c->todo, path, name);
  int err = S_ISLNK(st.st_mode) ? copy_link(in, out, name) : copy_node(out, name, &st);
  if (err < 0 || S_ISSOCK(st.st_mode)) return err;
  if (fchownat(out, name, st.st_uid, st.st_gid, AT_SYMLINK_NOFOLLOW) < 0) return -errno;
  /* The umask took bits of a node's mode, and chown the set-id ones; a link has no mode of its own. */
  if (!S_ISLNK(st.st_mode) && fchmodat(out, name, st.st_mode & 07777, 0) < 0) return -errno;
  const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, st.st_mtim};
  return utimensat(out, name, times, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

static int open_folder(int root, const char *path) {
  int fd = openat(root, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  return fd < 0 ? -errno : fd;
}

static int copy_folder(copy *c, const char *path) {
  cleanup_fd int in = open_folder(c->from, path);
  if (in < 0) return in;
  cleanup_fd int out = open_folder(c->to, path);
  if (out < 0) return out;
  int again = open_folder(in, ".");
  if (again < 0) return again;
  cleanup_dir DIR *dir = fdopendir(again);
  if (!dir) {
    close_fd(&again);
    return -ENOMEM;
  }
  struct dirent *entry;
  while ((errno = 0, entry = readdir(dir))) {
    int err = is_dot(entry->d_name) ? 0 : copy_entry(c, path, in, out, entry->d_name);
    if (err < 0) return err;
  }
  return -errno;
}

/* A folder's time changes with every entry made in it: attributes come when all are there. */
static int finish_folder(copy *c, const char *path) {
  cleanup_fd int in = open_folder(c->from, path);
  if (in < 0) return in;
  cleanup_fd int out = open_folder(c->to, path);
  return out < 0 ? out : copy_attributes(in, out);
}

static int copy_tree(const char *from, const char *to) {
  cleanup_fd int in = open(from, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (in < 0) return -errno;
  cleanup_fd int out = open(to, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (out < 0) return -errno;
  copy c = {.from = in, .to = out};
  int err = folder_push(&c.todo, ".", ".");
  for (folder *item; (item = folder_pop(&c.todo));) {
    if (err == 0) err = copy_folder(&c, item->path);
    item->next = c.done;
    c.done = item;
  }
  for (folder *item; (item = folder_pop(&c.done));) {
    if (err == 0) err = finish_folder(&c, item->path);
    free(item);
  }
  return err;
}

typedef struct {
  addon_work work;
  char from[PATH_MAX], to[PATH_MAX];
} job;

static int run_copy(addon_work *work) { return copy_tree(((job *)work)->from, ((job *)work)->to); }

/* copyTree(from, to): what is in one directory into another that is empty, and its attributes; a promise. */
static napi_value start_copy(napi_env env, napi_callback_info info) {
  napi_value args[2];
  job *j = calloc(1, sizeof *j);
  if (!j) return addon_throw_errno(env, ENOMEM, "allocate", NULL);
  j->work = (addon_work){.run = run_copy, .what = "copy a tree to", .path = j->to};
  if (!take_arguments(env, info, 2, args) || !take_path(env, args[0], j->from) || !take_path(env, args[1], j->to))
    return addon_drop(&j->work);
  return addon_start(env, &j->work);
}

bool register_copy(napi_env env, napi_value exports) {
  static const addon_function table[] = {{"copyTree", start_copy}};
  return addon_register(env, exports, table, sizeof table / sizeof *table);
}
