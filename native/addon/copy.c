/* Copies a tree with its owners, modes, attributes, times and hard links, on a thread apart. */
#include "copy.h"

#include <stdio.h>

#include "attributes.h"
#include "content.h"
#include "inodes.h"
#include "remove.h"
#include "walk.h"
#include "work.h"

typedef struct {
  walk walk;
  int from; /* the root, as `to` is of the copy */
  int to;
  chain out; /* where the walk is, in the copy */
  inode_set links;
  int shelf; /* a folder in the copy, until its end, of what has several names; each is named by its number; -1: none yet */
  char shelf_name[32];
} copy;

static int copy_file(const entry *e, int out_folder) {
  cleanup_fd int in = open_again(e->fd, O_RDONLY | O_NONBLOCK | O_NOCTTY);
  if (in < 0) return in;
  cleanup_fd int out = openat(out_folder, e->name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (out < 0) return -errno;
  int64_t size = copy_content(in, out, INT64_MAX);
  return size < 0 ? (int)size : copy_attributes(in, out);
}

static int copy_link(const entry *e, int out) {
  char target[PATH_MAX];
  ssize_t size = readlinkat(e->fd, "", target, sizeof target);
  if (size < 0) return -errno;
  if (size == sizeof target) return -ENAMETOOLONG;
  target[size] = 0;
  return symlinkat(target, out, e->name) < 0 ? -errno : 0;
}

/* What has no content: the node itself. */
static int copy_special(const entry *e, int out) {
  const struct stat *st = &e->st;
  bool link = S_ISLNK(st->st_mode);
  int err = link ? copy_link(e, out) : 0;
  if (!link && mknodat(out, e->name, st->st_mode & (S_IFMT | 07777), st->st_rdev) < 0) err = -errno;
  if (err < 0) return err;
  if (fchownat(out, e->name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) < 0) return -errno;
  /* The umask took bits of a node's mode, and chown the set-id ones; a link has no mode of its own. */
  if (!link && fchmodat(out, e->name, st->st_mode & 07777, 0) < 0) return -errno;
  const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, st->st_mtim};
  return utimensat(out, e->name, times, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

static int copy_entry(const entry *e, int out) {
  return S_ISREG(e->st.st_mode) ? copy_file(e, out) : copy_special(e, out);
}

static int copy_folder(copy *c, const entry *e) {
  bool root = c->out.depth == 0; /* it is there */
  int parent = root ? c->to : chain_fd(&c->out);
  if (!root && mkdirat(parent, e->name, 0700) < 0) return -errno;
  int fd = open_child(parent, e->name, O_RDONLY | O_DIRECTORY, false);
  return fd < 0 ? fd : chain_down(&c->out, fd);
}

/* Under a name that neither tree has. */
static int make_shelf(copy *c) {
  struct stat st;
  if (c->shelf >= 0) return 0;
  for (unsigned serial = 0;; serial++) {
    snprintf(c->shelf_name, sizeof c->shelf_name, ".berth-copy-%u", serial);
    if (fstatat(c->from, c->shelf_name, &st, AT_SYMLINK_NOFOLLOW) == 0) continue;
    if (mkdirat(c->to, c->shelf_name, 0700) == 0) break;
    if (errno != EEXIST) return -errno;
  }
  c->shelf = open_child(c->to, c->shelf_name, O_PATH | O_DIRECTORY, false);
  return c->shelf < 0 ? c->shelf : 0;
}

static int drop_shelf(copy *c) {
  if (c->shelf < 0) return 0;
  close_fd(&c->shelf);
  c->shelf = -1;
  return remove_tree(c->to, c->shelf_name);
}

/* An image may have thousands of names for one large file. EMLINK: not all of them fit here, with that of the shelf. */
static int copy_linked(copy *c, const entry *e, int out) {
  char shelved[24];
  uint64_t number;
  int err = make_shelf(c);
  int fresh = err < 0 ? err : inode_add(&c->links, &e->st, &number);
  if (fresh < 0) return fresh;
  snprintf(shelved, sizeof shelved, "%llu", (unsigned long long)number);
  if (!fresh) {
    if (linkat(c->shelf, shelved, out, e->name, 0) == 0) return 0;
    if (errno != EMLINK || unlinkat(c->shelf, shelved, 0) < 0) return -errno;
  }
  err = copy_entry(e, out);
  return err == 0 && linkat(out, e->name, c->shelf, shelved, 0) < 0 ? -errno : err;
}

static int visit(walk *w, const entry *e) {
  copy *c = (copy *)w;
  if (S_ISDIR(e->st.st_mode)) return copy_folder(c, e);
  if (S_ISSOCK(e->st.st_mode)) return 0; /* of no use to anybody without its server */
  int out = chain_fd(&c->out);
  return e->st.st_nlink > 1 ? copy_linked(c, e, out) : copy_entry(e, out);
}

/* A folder's time changes with every entry made in it: attributes come when all are there. */
static int leave(walk *w, int in) {
  copy *c = (copy *)w;
  int err = c->out.depth == 1 ? drop_shelf(c) : 0;
  if (err == 0) err = copy_attributes(in, chain_fd(&c->out));
  return err < 0 ? err : chain_up(&c->out);
}

static int copy_tree(const char *from, const char *to) {
  cleanup_fd int in = open(from, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (in < 0) return -errno;
  cleanup_fd int out = open(to, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (out < 0) return -errno;
  copy c = {.walk = {.visit = visit, .leave = leave}, .from = in, .to = out, .shelf = -1};
  int err = walk_tree(&c.walk, in);
  drop_shelf(&c);
  chain_free(&c.out);
  free(c.links.slots);
  return err;
}

typedef struct {
  addon_work work;
  char from[PATH_MAX], to[PATH_MAX];
} job;

static int run_copy(addon_work *work) { return copy_tree(((job *)work)->from, ((job *)work)->to); }

/* copyTree(from, to): what is in one directory into another that is empty, and its attributes; a promise. */
napi_value start_copy(napi_env env, napi_callback_info info) {
  napi_value args[2];
  job *j = calloc(1, sizeof *j);
  if (!j) return addon_throw_errno(env, ENOMEM, "allocate", NULL);
  j->work = (addon_work){.run = run_copy, .what = "copy a tree to", .path = j->to, .apart = true};
  if (!take_arguments(env, info, 2, args) || !take_path(env, args[0], j->from) || !take_path(env, args[1], j->to))
    return addon_drop(&j->work);
  return addon_start(env, &j->work);
}
