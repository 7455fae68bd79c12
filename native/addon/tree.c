/* A tree that entries are created in or read from, as JavaScript holds it: no name leads out of its root. */
#include "tree.h"

#include "held.h"
#include "root.h"

void forget_parent(tree *t) {
  if (t->parent >= 0) close(t->parent);
  t->parent = -1;
}

static void free_tree(napi_env env, void *data, void *hint) {
  (void)env;
  (void)hint;
  tree *t = data;
  free_finisher(t->small);
  forget_parent(t);
  if (t->file >= 0) close(t->file);
  if (t->root >= 0) close(t->root);
  free(t);
}

napi_value open_tree(napi_env env, napi_callback_info info) {
  napi_value args[1], result;
  char path[PATH_MAX];
  if (!take_arguments(env, info, 1, args) || !take_path(env, args[0], path)) return NULL;
  tree *t = calloc(1, sizeof *t);
  if (!t) return addon_throw_errno(env, ENOMEM, "open tree", path);
  t->parent = t->file = -1;
  t->root = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (t->root < 0) {
    int err = errno;
    free(t);
    return addon_throw_errno(env, err, "open tree", path);
  }
  if (napi_create_external(env, t, free_tree, NULL, &result) == napi_ok) return result;
  free_tree(env, t, NULL);
  return NULL;
}

bool take_tree(napi_env env, napi_value value, tree **t) {
  if (napi_get_value_external(env, value, (void **)t) == napi_ok && *t) return true;
  addon_throw_type(env, "Not a tree");
  return false;
}

/* Closes the descriptors now; later calls fail with EBADF. */
napi_value close_tree(napi_env env, napi_callback_info info) {
  napi_value args[1];
  tree *t;
  if (!take_arguments(env, info, 1, args) || !take_tree(env, args[0], &t)) return NULL;
  free_finisher(t->small);
  t->small = NULL;
  forget_parent(t);
  if (t->file >= 0) close(t->file);
  if (t->root >= 0) close(t->root);
  t->root = t->file = -1;
  return make_int(env, 0);
}

int find_parent(tree *t, char *path, const char **base) {
  char *slash = strrchr(path, '/');
  *base = slash ? slash + 1 : path[0] ? path : ".";
  if (!slash) return t->root;
  *slash = 0;
  bool same = t->parent >= 0 && strcmp(t->parent_path, path) == 0;
  if (!same) {
    int fd = open_child(t->root, path, O_PATH | O_DIRECTORY, true);
    if (fd >= 0) {
      forget_parent(t);
      t->parent = fd;
      memcpy(t->parent_path, path, strlen(path) + 1);
    }
    *slash = '/';
    return fd;
  }
  *slash = '/';
  return t->parent;
}

int find_parents(tree *t, char *first, const char **first_base, char *second, const char **second_base, int *other) {
  int found = find_parent(t, first, first_base);
  if (found < 0) return found;
  int own = fcntl(found, F_DUPFD_CLOEXEC, 3); /* the next line may close the tree's own */
  if (own < 0) return -errno;
  *other = find_parent(t, second, second_base);
  if (*other >= 0) return own;
  close(own);
  return *other;
}
