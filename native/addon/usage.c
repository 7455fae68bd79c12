/* Measures whole trees, removes them and writes a filesystem back, on threads apart. */
#include "usage.h"

#include "held.h"
#include "inodes.h"
#include "remove.h"
#include "walk.h"
#include "work.h"

typedef struct {
  walk walk;
  uint64_t bytes, inodes;
  inode_set links;
} measure;

/* As du does: an inode counts once, however many names it has. */
static int count(walk *w, const entry *e) {
  measure *m = (measure *)w;
  if (e->st.st_nlink > 1 && !S_ISDIR(e->st.st_mode)) {
    uint64_t number;
    int fresh = inode_add(&m->links, &e->st, &number);
    if (fresh <= 0) return fresh;
  }
  m->bytes += (uint64_t)e->st.st_blocks * 512;
  m->inodes++;
  return 0;
}

static int measure_tree(measure *m, const char *path) {
  cleanup_fd int root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (root < 0) return -errno;
  m->walk.visit = count;
  int err = walk_tree(&m->walk, root);
  free(m->links.slots);
  return err == -ETIMEDOUT ? 0 : err; /* what was counted is a truth too: at least so much */
}

typedef struct {
  addon_work work;
  measure result;
  char path[PATH_MAX];
} job;

static int run_remove(addon_work *work) { return remove_path(work->path); }

static int run_measure(addon_work *work) { return measure_tree(&((job *)work)->result, work->path); }

static int run_sync(addon_work *work) {
  cleanup_fd int fd = open(work->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  return fd < 0 || syncfs(fd) < 0 ? -errno : 0;
}

static napi_value measured(napi_env env, addon_work *work) {
  const measure *found = &((job *)work)->result;
  napi_value value = NULL;
  napi_create_object(env, &value);
  napi_set_named_property(env, value, "bytes", make_number(env, (double)found->bytes));
  napi_set_named_property(env, value, "inodes", make_number(env, (double)found->inodes));
  return value;
}

static napi_value start(napi_env env, napi_callback_info info, addon_work how) {
  napi_value args[1];
  job *j = calloc(1, sizeof *j);
  if (!j) return addon_throw_errno(env, ENOMEM, "allocate", NULL);
  j->work = how;
  j->work.path = j->path;
  if (!take_arguments(env, info, 1, args) || !take_path(env, args[0], j->path)) return addon_drop(&j->work);
  return addon_start(env, &j->work);
}

/* removeTree(path): a promise. */
napi_value remove_call(napi_env env, napi_callback_info info) {
  return start(env, info, (addon_work){.run = run_remove, .what = "remove", .apart = true});
}

/* diskUsage(path, maxSeconds): a promise of bytes and inodes, as many as were found until then. */
napi_value disk_usage(napi_env env, napi_callback_info info) {
  napi_value args[2];
  int64_t seconds;
  job *j = calloc(1, sizeof *j);
  if (!j) return addon_throw_errno(env, ENOMEM, "allocate", NULL);
  j->work = (addon_work){.run = run_measure, .result = measured, .what = "measure", .path = j->path, .apart = true};
  if (!take_arguments(env, info, 2, args) || !take_path(env, args[0], j->path) || !take_int64(env, args[1], &seconds))
    return addon_drop(&j->work);
  j->result.walk.until = seconds_from_now(seconds);
  return addon_start(env, &j->work);
}

/* syncFilesystem(path): a promise. */
napi_value sync_filesystem(napi_env env, napi_callback_info info) {
  return start(env, info, (addon_work){.run = run_sync, .what = "syncfs", .apart = true});
}
