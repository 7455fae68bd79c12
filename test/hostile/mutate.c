// Root in a container that never stops changing its tree: mutate ROOT OUTSIDE SEED. It is locked into ROOT; what its links
// say of OUTSIDE leads there only for who follows them on the host. Ends with its parent.
#define _GNU_SOURCE
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

static uint64_t state;

static unsigned below(unsigned limit) { // splitmix64
  uint64_t z = (state += 0x9e3779b97f4a7c15ull);
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ z >> 27) * 0x94d049bb133111ebull;
  return (unsigned)((z ^ z >> 31) % limit);
}

/* A few names, so that they meet; now and then deeper than a walk holds directories open. */
static const char *any_path(char path[1024]) {
  unsigned depth = below(8) == 0 ? 30 + below(40) : 1 + below(4);
  char *end = path;
  for (unsigned i = 0; i < depth; i++) end += sprintf(end, "%c/", depth > 4 ? 'a' : 'a' + below(4));
  end[-1] = 0;
  return path;
}

static void make_chain(void) {
  char path[1024] = "";
  for (unsigned i = 0, depth = 10 + below(90); i < depth; i++) {
    strcat(path, i ? "/a" : "a");
    mkdir(path, 0755);
  }
}

static void write_some(const char *path) {
  int fd = open(path, O_WRONLY | O_CREAT | O_NONBLOCK | O_NOFOLLOW, 0644);
  if (fd < 0) return;
  char data[5000];
  memset(data, 'x', sizeof data);
  if (pwrite(fd, data, 1 + below(sizeof data), below(4) ? 0 : below(1 << 18)) < 0) close(fd), fd = -1;
  if (fd >= 0) close(fd);
}

static void change(const char *outside) {
  char one[1024], other[1024];
  const char *targets[] = {outside, "..", "../..", "/", "a", "a/b", "/proc/self/root", ""};
  any_path(one);
  any_path(other);
  switch (below(16)) {
    case 0:
    case 1: mkdir(one, 0755); break;
    case 2: make_chain(); break;
    case 3:
    case 4: write_some(one); break;
    case 5:
    case 6: (void)!symlink(targets[below(7)], one); break;
    case 7: unlink(one); break;
    case 8: rmdir(one); break;
    case 9:
    case 10: rename(one, other); break;
    case 11:
    case 12: renameat2(AT_FDCWD, one, AT_FDCWD, other, RENAME_EXCHANGE); break;
    case 13: (void)!link(one, other); break;
    case 14: (void)!truncate(one, below(1 << 18)); break;
    default:
      if (below(2)) mknod(one, below(2) ? S_IFIFO | 0600 : S_IFCHR | 0600, makedev(0, 0));
      else lsetxattr(one, "user.changed", other, below(900), 0);
  }
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at) {
  (void)st, (void)type, (void)at;
  remove(path);
  return 0;
}

/* Or the tree would only grow. */
static void clear_some(void) {
  char name[] = {'a' + (char)below(4), 0};
  nftw(name, remove_one, 20, FTW_DEPTH | FTW_PHYS);
}

int main(int argc, char **argv) {
  if (argc != 4) return 2;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (chroot(argv[1]) < 0 || chdir("/") < 0) return perror("chroot"), 1;
  state = strtoull(argv[3], NULL, 10);
  make_chain();
  for (int i = 0; i < 2000; i++) change(argv[2]);
  puts("begun");
  fflush(stdout);
  for (unsigned i = 1;; i++) {
    change(argv[2]);
    if (i % 500 == 0) clear_some();
  }
}
