/* Gives every file of a tree one value of one extended attribute (a SELinux label). */
#include <stdio.h>
#include <sys/xattr.h>

#include "../addon/walk.h"
#include "look.h"

/* Minutes for the largest volumes, and an end for one that somebody adds to all the time. */
enum { MOST_SECONDS = 600 };

struct labelling {
  walk walk;
  const char *name, *value;
  void (*goes_on)(void);
};

/* There is no call that takes a descriptor (O_PATH) before Linux 6.13: /proc stands in, and leads to a link itself. A file
   system that has no labels (EOPNOTSUPP) keeps what its mount says. */
static int label(walk *w, const entry *e) {
  const struct labelling *want = (const struct labelling *)((const char *)w - offsetof(struct labelling, walk));
  char self[32];
  want->goes_on();
  snprintf(self, sizeof self, "/proc/self/fd/%d", e->fd);
  if (setxattr(self, want->name, want->value, strlen(want->value) + 1, 0) == 0) return 0;
  return errno == EOPNOTSUPP ? 0 : -errno;
}

/* Of a path in which no component is a link. What is mounted in the tree gets the label too, as with the peers: the
   container sees it (CRI mounts are recursive), and only root on the host can have mounted it there. */
int label_tree(const char *path, const char *name, const char *value, void (*goes_on)(void)) {
  cleanup_fd int root = open_without_links(path, O_PATH);
  if (root < 0) return root;
  struct stat st;
  if (fstat(root, &st) < 0) return -errno;
  if (S_ISLNK(st.st_mode)) return -ELOOP;
  struct labelling want = {.name = name, .value = value, .goes_on = goes_on};
  want.walk = (walk){.crosses = true, .until = seconds_from_now(MOST_SECONDS), .visit = label};
  return walk_tree(&want.walk, root);
}
