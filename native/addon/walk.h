/* One walk for all that visit trees. The tree may be a running container's, which changes it meanwhile. */
#ifndef BERTH_WALK_H
#define BERTH_WALK_H
#include <time.h>

#include "held.h"
#include "root.h"

/*
 * The directories from a root down to where a walk is. However many they are, few are held open: the root, and those that
 * the walk comes back to next. The others are found again by "..", and only if that is still the same directory.
 */
typedef struct {
  DIR *dir; /* NULL: it is not read */
  int fd; /* -1: closed for now */
  long at; /* how far it was read */
  dev_t device;
  ino_t inode;
} chain_step;

typedef struct {
  bool reads, crosses;
  chain_step *steps;
  size_t depth, room;
} chain;

/* Goes down into a directory; takes its descriptor, also in failure. 0 or -errno. */
int chain_down(chain *c, int fd);

/* Back to the one above. -ESTALE: it is not where it was, so this is the next one above that is held open. */
int chain_up(chain *c);

static inline int chain_fd(const chain *c) { return c->steps[c->depth - 1].fd; }

void chain_free(chain *c);

/* Something in the tree. All that is done to it goes through its descriptor (O_PATH): its name may be another's by now. */
typedef struct {
  int fd;
  const char *name; /* in the directory that is being read; "." for the root */
  struct stat st;
} entry;

typedef struct walk {
  /* Whether to go into what is mounted in the tree. Without, it is passed over. */
  bool crosses;
  /* Seconds of CLOCK_MONOTONIC at which it ends with -ETIMEDOUT; 0: never. Who adds to a tree as fast as it is read could
     hold the thread up for ever. */
  time_t until;
  int (*visit)(struct walk *w, const entry *e); /* everything once, a directory before what is in it; 0 or -errno */
  int (*leave)(struct walk *w, int fd); /* a directory when all in it was visited; NULL: nobody asks */
} walk;

/*
 * Visits `root` and all below it, however deep; no link is followed. What vanishes meanwhile is left out. 0, the first
 * failure of a visit, or -errno.
 */
int walk_tree(walk *w, int root);

/* For `until`. */
static inline time_t seconds_from_now(time_t seconds) {
  struct timespec now = {0};
  clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  return now.tv_sec + seconds;
}

#endif
