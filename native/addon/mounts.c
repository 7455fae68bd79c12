/* The mount API. Every call here is synchronous and short; deadlines are the caller's business. */
#include "mounts.h"

#include <linux/mount.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <sys/syscall.h>

#include "held.h"
#include "owners.h"

/* <sys/mount.h> and <linux/mount.h> of this libc disagree; these come from mount(2) and umount2(2). */
#define DETACH 2
#define NO_FOLLOW 8
int mount(const char *source, const char *target, const char *type, unsigned long flags, const void *data);
int umount2(const char *target, int flags);

#define LAYERS_MAX 500 /* OVL_MAX_STACK */
#define STRING_MAX 255 /* fsconfig takes no longer string */

static int sys_fsconfig(int fd, unsigned command, const char *key, const char *value) {
  return syscall(SYS_fsconfig, fd, command, key, value, 0) < 0 ? -errno : 0;
}

typedef struct {
  int lowers[LAYERS_MAX];
  char *lower_paths[LAYERS_MAX];
  size_t count;
  int upper, work;
  bool writable;
  char upper_path[PATH_MAX], work_path[PATH_MAX], target[PATH_MAX];
  uint32_t attributes; /* MOUNT_ATTR_* */
  int err;
  char log[512];
} overlay;

static void free_overlay(overlay **place) {
  overlay *o = *place;
  if (!o) return;
  for (size_t i = 0; i < o->count; i++) {
    if (o->lowers[i] >= 0) close(o->lowers[i]);
    free(o->lower_paths[i]);
  }
  if (o->upper >= 0) close(o->upper);
  if (o->work >= 0) close(o->work);
  free(o);
}

/* The layer by its own name where it fits (mountinfo then shows it), else through its descriptor. */
static int set_layer(int fs, const char *key, const char *path, int fd) {
  char self[32];
  if (strlen(path) <= STRING_MAX) return sys_fsconfig(fs, FSCONFIG_SET_STRING, key, path);
  snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
  return sys_fsconfig(fs, FSCONFIG_SET_STRING, key, self);
}

/* What these features would keep in a layer makes no sense in another chain or after an unpack: all off, and said. */
static const char *const features_off[] = {"index", "metacopy", "redirect_dir"};

static int configure(overlay *o, int fs) {
  int err = sys_fsconfig(fs, FSCONFIG_SET_STRING, "source", "overlay");
  for (size_t i = 0; err == 0 && i < o->count; i++) err = set_layer(fs, "lowerdir+", o->lower_paths[i], o->lowers[i]);
  if (err == 0 && o->writable) err = set_layer(fs, "upperdir", o->upper_path, o->upper);
  if (err == 0 && o->writable) err = set_layer(fs, "workdir", o->work_path, o->work);
  for (size_t i = 0; err == 0 && i < sizeof features_off / sizeof *features_off; i++)
    err = sys_fsconfig(fs, FSCONFIG_SET_STRING, features_off[i], "off");
  return err == 0 ? sys_fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL) : err;
}

static int mount_by_fsconfig(overlay *o) {
  cleanup_fd int fs = (int)syscall(SYS_fsopen, "overlay", FSOPEN_CLOEXEC);
  if (fs < 0) return -errno;
  int err = configure(o, fs);
  if (err < 0) {
    ssize_t length = read(fs, o->log, sizeof o->log - 1); /* the kernel's own words, if it has any */
    o->log[length > 0 ? length : 0] = 0;
    return err;
  }
  cleanup_fd int mnt = (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, o->attributes);
  if (mnt < 0) return -errno;
  return syscall(SYS_move_mount, mnt, "", AT_FDCWD, o->target, MOVE_MOUNT_F_EMPTY_PATH) < 0 ? -errno : 0;
}

/*
 * For kernels without lowerdir+ (before 6.8): mount(2) takes one page of options, so the layers are named by descriptor
 * numbers relative to /proc/self/fd. The working directory belongs to this thread alone after unshare(CLONE_FS).
 */
static void *mount_by_options(void *data) {
  overlay *o = data;
  char options[4096];
  size_t used = 0;
  if (unshare(CLONE_FS) < 0 || chdir("/proc/self/fd") < 0) {
    o->err = -errno;
    return NULL;
  }
  for (size_t i = 0; i < o->count && used < sizeof options; i++)
    used += (size_t)snprintf(options + used, sizeof options - used, "%s%d", i ? ":" : "lowerdir=", o->lowers[i]);
  if (o->writable && used < sizeof options)
    used += (size_t)snprintf(options + used, sizeof options - used, ",upperdir=%d,workdir=%d", o->upper, o->work);
  for (size_t i = 0; i < sizeof features_off / sizeof *features_off && used < sizeof options; i++)
    used += (size_t)snprintf(options + used, sizeof options - used, ",%s=off", features_off[i]);
  unsigned long flags = (o->attributes & MOUNT_ATTR_RDONLY ? 1u : 0) | (o->attributes & MOUNT_ATTR_NOSUID ? 2u : 0) |
                        (o->attributes & MOUNT_ATTR_NODEV ? 4u : 0);
  if (used >= sizeof options) o->err = -E2BIG;
  else o->err = mount("overlay", o->target, "overlay", flags, options) < 0 ? -errno : 0;
  return NULL;
}

static int in_throwaway_thread(overlay *o) {
  pthread_t thread;
  int err = pthread_create(&thread, NULL, mount_by_options, o);
  if (err) return -err;
  pthread_join(thread, NULL);
  return o->err;
}

static bool take_layer(napi_env env, napi_value value, char path[PATH_MAX], int *fd) {
  if (!take_path(env, value, path)) return false;
  *fd = open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (*fd >= 0) return true;
  addon_throw_errno(env, errno, "open layer", path);
  return false;
}

static bool take_lowers(napi_env env, napi_value array, overlay *o) {
  uint32_t length;
  char path[PATH_MAX];
  if (napi_get_array_length(env, array, &length) != napi_ok || length == 0 || length > LAYERS_MAX) {
    addon_throw_type(env, "An overlay takes 1 to 500 lower layers");
    return false;
  }
  for (uint32_t i = 0; i < length; i++) {
    napi_value item;
    int fd;
    if (napi_get_element(env, array, i, &item) != napi_ok || !take_layer(env, item, path, &fd)) return false;
    o->lowers[i] = fd;
    o->lower_paths[i] = strdup(path);
    o->count = i + 1;
    if (o->lower_paths[i]) continue;
    addon_throw_errno(env, ENOMEM, "allocate", path);
    return false;
  }
  return true;
}

/*
 * Whether EINVAL comes from a kernel that cannot take layers one by one: it names the option, or (before 6.5, when overlayfs
 * was yet to learn the mount API) says "Legacy" of one that does not fit into a page, or nothing at all of any other.
 */
static bool knows_no_layers(const char *log) {
  return log[0] == 0 || strstr(log, "lowerdir+") || strstr(log, "VFS: Legacy");
}

/* mountOverlay(lowers, upper|"", work|"", target, attributes, legacy) */
napi_value mount_overlay(napi_env env, napi_callback_info info) {
  napi_value args[6];
  bool legacy;
  if (!take_arguments(env, info, 6, args)) return NULL;
  __attribute__((cleanup(free_overlay))) overlay *o = calloc(1, sizeof *o);
  if (!o) return addon_throw_errno(env, ENOMEM, "allocate", NULL);
  o->upper = o->work = -1;
  if (!take_lowers(env, args[0], o) || !take_path(env, args[1], o->upper_path) || !take_path(env, args[3], o->target))
    return NULL;
  o->writable = o->upper_path[0] != 0;
  if (o->writable &&
      (!take_layer(env, args[1], o->upper_path, &o->upper) || !take_layer(env, args[2], o->work_path, &o->work)))
    return NULL;
  if (napi_get_value_uint32(env, args[4], &o->attributes) != napi_ok ||
      napi_get_value_bool(env, args[5], &legacy) != napi_ok)
    return addon_throw_type(env, "mountOverlay takes attributes and legacy");
  int err = legacy ? -EINVAL : mount_by_fsconfig(o);
  if (err == -ENOSYS || (err == -EINVAL && (legacy || knows_no_layers(o->log)))) err = in_throwaway_thread(o);
  if (err == 0) return make_int(env, 0);
  char what[640];
  snprintf(what, sizeof what, "mount overlay%s%s", o->log[0] ? ": " : "", o->log);
  what[strcspn(what, "\n")] = 0;
  return addon_throw_errno(env, -err, what, o->target);
}

/* bindMount(source, target, recursive, attributes): the attributes hold from the first moment the mount is seen. */
napi_value bind_mount(napi_env env, napi_callback_info info) {
  napi_value args[4];
  char source[PATH_MAX], target[PATH_MAX];
  bool recursive;
  uint32_t attributes;
  if (!take_arguments(env, info, 4, args) || !take_path(env, args[0], source) || !take_path(env, args[1], target))
    return NULL;
  if (napi_get_value_bool(env, args[2], &recursive) != napi_ok ||
      napi_get_value_uint32(env, args[3], &attributes) != napi_ok)
    return addon_throw_type(env, "bindMount takes recursive and attributes");
  unsigned deep = recursive ? AT_RECURSIVE : 0;
  cleanup_fd int tree = (int)syscall(SYS_open_tree, AT_FDCWD, source, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | deep);
  if (tree < 0) return addon_throw_errno(env, errno, "bind mount", source);
  /* In a shared tree, what is unmounted below the target goes below the source too: a slave only listens. */
  struct mount_attr set = {.attr_set = attributes, .propagation = recursive ? PROPAGATE_SLAVE : 0};
  if ((attributes || recursive) && syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH | deep, &set, sizeof set) < 0)
    return addon_throw_errno(env, errno, "set mount attributes of", source);
  if (syscall(SYS_move_mount, tree, "", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH) < 0)
    return addon_throw_errno(env, errno, "bind mount on", target);
  return make_int(env, 0);
}

/* mount(source, target, type, flags, data) as mount(2). */
napi_value plain_mount(napi_env env, napi_callback_info info) {
  napi_value args[5];
  char source[PATH_MAX], target[PATH_MAX], type[PATH_MAX], data[PATH_MAX];
  int64_t flags;
  if (!take_arguments(env, info, 5, args) || !take_path(env, args[0], source) || !take_path(env, args[1], target) ||
      !take_path(env, args[2], type) || !take_int64(env, args[3], &flags) || !take_path(env, args[4], data))
    return NULL;
  if (mount(source, target, type, (unsigned long)flags, data) < 0)
    return addon_throw_errno(env, errno, "mount", target);
  return make_int(env, 0);
}

/* unmount(target, detach): never through a symbolic link. */
napi_value unmount(napi_env env, napi_callback_info info) {
  napi_value args[2];
  char target[PATH_MAX];
  bool detach;
  if (!take_arguments(env, info, 2, args) || !take_path(env, args[0], target)) return NULL;
  if (napi_get_value_bool(env, args[1], &detach) != napi_ok) return addon_throw_type(env, "unmount takes detach");
  if (umount2(target, NO_FOLLOW | (detach ? DETACH : 0)) < 0) return addon_throw_errno(env, errno, "unmount", target);
  return make_int(env, 0);
}
