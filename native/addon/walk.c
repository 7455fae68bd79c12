/* One walk for all that visit trees, however deep, with few descriptors. */
#include "walk.h"

/* Enough for any tree that a person made; beyond, one "..", one fstat and one seek a directory. */
#define HELD_OPEN 32

static void close_step(chain_step *s) {
  if (s->dir) closedir(s->dir);
  else if (s->fd >= 0) close(s->fd);
  s->dir = NULL;
  s->fd = -1;
}

void chain_free(chain *c) {
  while (c->depth > 0) close_step(&c->steps[--c->depth]);
  free(c->steps);
  c->steps = NULL;
}

/* Takes the descriptor. */
static int hold(const chain *c, chain_step *s, int fd) {
  s->fd = fd;
  if (!c->reads) return 0;
  s->dir = fdopendir(fd);
  return s->dir ? 0 : -ENOMEM; /* close_step has the descriptor */
}

static int make_room(chain *c) {
  if (c->depth < c->room) return 0;
  size_t room = c->room ? c->room * 2 : 64;
  chain_step *steps = reallocarray(c->steps, room, sizeof *steps);
  if (!steps) return -ENOMEM;
  c->steps = steps;
  c->room = room;
  return 0;
}

/* The root is never let go: there is always a place to go on from. */
static void let_go(const chain *c) {
  if (c->depth <= HELD_OPEN + 1) return;
  chain_step *s = &c->steps[c->depth - 1 - HELD_OPEN];
  if (s->dir) s->at = telldir(s->dir);
  close_step(s);
}

int chain_down(chain *c, int fd) {
  struct stat st;
  int err = make_room(c);
  if (err == 0 && fstat(fd, &st) < 0) err = -errno;
  if (err < 0) {
    close_fd(&fd);
    return err;
  }
  chain_step *s = &c->steps[c->depth++];
  *s = (chain_step){.fd = -1, .device = st.st_dev, .inode = st.st_ino};
  err = hold(c, s, fd);
  if (err == 0) let_go(c);
  return err;
}

/* Opens again what is above `below`, if it is what it was. */
static int find_again(const chain *c, chain_step *s, int below) {
  struct stat st;
  int fd = open_parent(below, c->crosses);
  if (fd < 0) return fd;
  if (fstat(fd, &st) < 0 || st.st_dev != s->device || st.st_ino != s->inode) {
    close_fd(&fd);
    return -ESTALE;
  }
  int err = hold(c, s, fd);
  if (err == 0 && s->dir) seekdir(s->dir, s->at);
  return err;
}

int chain_up(chain *c) {
  chain_step *top = &c->steps[--c->depth];
  int err = 0;
  if (c->depth > 0 && top[-1].fd < 0) err = find_again(c, &top[-1], top->fd);
  close_step(top);
  if (err == 0 || err == -ENOMEM || err == -EMFILE || err == -ENFILE) return err;
  while (c->depth > 0 && c->steps[c->depth - 1].fd < 0) c->depth--;
  return -ESTALE;
}

/* What became something else, or is gone, between two looks. */
static bool vanished(int err) { return err == -ENOENT || err == -ENOTDIR || err == -ELOOP || err == -ESTALE; }

static int go_down(walk *w, chain *c, int fd) {
  int folder = open_child(fd, ".", O_RDONLY | O_DIRECTORY, w->crosses);
  if (folder >= 0) return chain_down(c, folder);
  return vanished(folder) && !w->leave ? 0 : folder;
}

/* Takes a descriptor of its own of whatever has this name now. */
static int visit_one(walk *w, chain *c, const char *name) {
  entry e = {.name = name};
  cleanup_fd int fd = open_child(chain_fd(c), name, O_PATH, w->crosses);
  if (fd == -EXDEV || vanished(fd)) return 0;
  e.fd = fd;
  if (fd < 0) return fd;
  if (fstat(fd, &e.st) < 0) return -errno;
  int err = w->visit(w, &e);
  return err == 0 && S_ISDIR(e.st.st_mode) ? go_down(w, c, fd) : err;
}

/* Who is told of every directory's end cannot do without one; to the others its rest is as if it had vanished. */
static int go_up(walk *w, chain *c) {
  int err = w->leave ? w->leave(w, chain_fd(c)) : 0;
  if (err < 0) return err;
  err = chain_up(c);
  return err == -ESTALE && !w->leave ? 0 : err;
}

static int walk_on(walk *w, chain *c) {
  while (c->depth > 0) {
    if (w->until && seconds_from_now(0) >= w->until) return -ETIMEDOUT;
    errno = 0;
    const struct dirent *next = readdir(c->steps[c->depth - 1].dir);
    int err = -errno;
    if (next) err = is_dot(next->d_name) ? 0 : visit_one(w, c, next->d_name);
    else if (err == 0 || vanished(err)) err = go_up(w, c);
    if (err < 0) return err;
  }
  return 0;
}

int walk_tree(walk *w, int root) {
  chain c = {.reads = true, .crosses = w->crosses};
  entry e = {.fd = root, .name = "."};
  if (fstat(root, &e.st) < 0) return -errno;
  int err = w->visit(w, &e);
  if (err < 0 || !S_ISDIR(e.st.st_mode)) return err;
  err = go_down(w, &c, root);
  if (err == 0) err = walk_on(w, &c);
  chain_free(&c);
  return err;
}
