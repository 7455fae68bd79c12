/* Mounts that show other owners than the disk has, and directories of a tree that somebody else controls. */
#include "idmap.h"

#include "held.h"
#include "owners.h"
#include "root.h"

/* bindMapped(source, target, uidMap, gidMap, attributes) */
napi_value bind_mapped_call(napi_env env, napi_callback_info info) {
  napi_value args[5];
  const char *what, *about;
  char source[PATH_MAX], target[PATH_MAX], uids[PATH_MAX], gids[PATH_MAX];
  mapped_mount want = {.source = source, .target = target, .uids = uids, .gids = gids};
  if (!take_arguments(env, info, 5, args) || !take_path(env, args[0], source) || !take_path(env, args[1], target) ||
      !take_path(env, args[2], uids) || !take_path(env, args[3], gids))
    return NULL;
  if (napi_get_value_uint32(env, args[4], &want.attributes) != napi_ok)
    return addon_throw_type(env, "bindMapped takes attributes");
  int err = bind_mapped(&want, &what, &about);
  return err < 0 ? addon_throw_errno(env, -err, what, about) : make_int(env, 0);
}

/* openInRoot(root, path): a descriptor (O_PATH) of what is there, links resolved inside the root; or -errno. */
napi_value open_path_in_root(napi_env env, napi_callback_info info) {
  napi_value args[2];
  char root_path[PATH_MAX], path[PATH_MAX];
  if (!take_arguments(env, info, 2, args) || !take_path(env, args[0], root_path) || !take_path(env, args[1], path))
    return NULL;
  cleanup_fd int root = open(root_path, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (root < 0) return addon_throw_errno(env, errno, "open root", root_path);
  return make_int(env, open_in_root(root, path, O_PATH));
}
