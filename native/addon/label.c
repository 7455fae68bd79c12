/* Gives every file of a tree one value of one extended attribute (a SELinux label), off the caller's thread. */
#include <stdio.h>
#include <sys/xattr.h>

#include "walk.h"

/* Minutes for the largest volumes, and an end for one that somebody adds to all the time. */
#define MOST_SECONDS 600

typedef struct {
  addon_work work;
  walk walk;
  char path[PATH_MAX], name[256], value[PATH_MAX];
} job;

/* There is no call that takes a descriptor (O_PATH) before Linux 6.13: /proc stands in, and leads to a link itself. A file
   system that has no labels (EOPNOTSUPP) keeps what its mount says. */
static int label(walk *w, const entry *e) {
  const job *j = (const job *)((const char *)w - offsetof(job, walk));
  char self[32];
  snprintf(self, sizeof self, "/proc/self/fd/%d", e->fd);
  if (setxattr(self, j->name, j->value, strlen(j->value) + 1, 0) == 0) return 0;
  return errno == EOPNOTSUPP ? 0 : -errno;
}

/*
 * What is mounted in the tree gets the label too, as with the peers: the container sees it (CRI mounts are recursive), and
 * only root on the host can have mounted it there.
 */
static int run_label(addon_work *work) {
  job *j = (job *)work;
  cleanup_fd int root = open_without_links(j->path, O_PATH);
  if (root < 0) return root;
  struct stat st;
  if (fstat(root, &st) < 0) return -errno;
  if (S_ISLNK(st.st_mode)) return -ELOOP;
  j->walk = (walk){.crosses = true, .until = seconds_from_now(MOST_SECONDS), .visit = label};
  return walk_tree(&j->walk, root);
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

/* labelTree(path, attribute, value): of `path`, in which no component is a link, and all below it; a promise. */
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
