/* Whether a process ended because the kernel had no memory for its cgroup. */
#include "oom.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "text.h"

/* memory.events and memory.oom_control both say `oom_kill <count>` on a line of its own. -1: the cgroup is gone. */
static long kills_in(int fd, const char *path) {
  char text[1024] = "\n";
  ssize_t size = fd >= 0 ? pread(fd, text + 1, sizeof text - 2, 0) : read_file(path, text + 1, sizeof text - 1);
  if (size < 0) return -1;
  text[size + 1] = 0;
  const char *line = strstr(text, "\noom_kill ");
  return line ? strtol(line + 10, NULL, 10) : 0;
}

/* What the pod's cgroup counts, on cgroup v2: all below it, also in cgroups that systemd removed before we could look. */
static long kills_around(const struct oom *oom) {
  char path[4096], folder[4096];
  const char *name = strrchr(oom->file, '/');
  if (!name || strcmp(name, "/memory.events") || !join(folder, oom->file, "")) return 0;
  for (int up = 0; up < 2; up++) {
    char *slash = strrchr(folder, '/');
    if (!slash) return 0;
    *slash = 0;
  }
  return join(path, folder, name) ? kills_in(-1, path) : 0;
}

void oom_begin(struct oom *oom) { oom->kills_before = kills_around(oom); }

void oom_others_counted(struct oom *other) {
  if (other->source.fd >= 0 && kills_in(other->source.fd, "") == 0) other->kills_before = kills_around(other);
}

/* cgroup v2 announces each change of memory.events. Waiting for the exit would be too late where systemd removes an
   emptied cgroup on its own. The file of a removed one is ready for ever and cannot be read. */
static void changed(struct source *source) {
  struct oom *oom = container_of(source, struct oom, source);
  long kills = kills_in(source->fd, "");
  if (kills > 0) oom->kills = kills;
  if (kills > 0) oom->counted(oom);
  if (kills < 0) source_close(source);
}

void oom_watch(struct oom *oom) {
  int fd = *oom->file ? open(oom->file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK) : -1;
  if (fd >= 0 && source_open(&oom->source, fd, POLLPRI, changed)) close(fd);
}

/* Only if its own end was the kill: a container may outlive the kill of a child, and end as it likes or as we tell it to. */
static bool was_killed(const struct oom *oom, uint32_t code) {
  if (code != 128 + SIGKILL) return false;
  long kills = kills_in(oom->source.fd, oom->file);
  if (kills < 0 && oom->kills == 0) return kills_around(oom) > oom->kills_before;
  if (kills < oom->kills) kills = oom->kills;
  return kills > oom->kills_when_killed;
}

void oom_will_be_killed(struct oom *oom) {
  long kills = kills_in(oom->source.fd, oom->file);
  oom->kills_when_killed = kills > 0 ? kills : 0;
}

bool oom_ended(struct oom *oom, uint32_t code) {
  bool killed = was_killed(oom, code);
  if (killed) oom->counted(oom);
  source_close(&oom->source);
  return killed;
}

void oom_free(struct oom *oom) {
  source_close(&oom->source);
  free(oom->file);
}
