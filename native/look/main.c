/* berth-look: looks at paths of the host for one call of the daemon, which says over descriptor 3 at which. Any of them may
   hang for ever: then this process does, nobody else, and it is killed. It ends when the daemon hangs up. */
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <time.h>

#include "../addon/owners.h"
#include "look.h"

enum { DAEMON = 3, MOST_REQUEST = 65536 };
static uint32_t answered; /* the request that is at work */
static time_t told;

static time_t seconds_now(void) {
  struct timespec now = {0};
  clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  return now.tv_sec;
}

/* False: there is nobody to tell any more. */
static bool write_all(const uint8_t *data, size_t size) {
  while (size > 0) {
    ssize_t wrote = send(DAEMON, data, size, MSG_NOSIGNAL);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) return false;
    data += wrote;
    size -= (size_t)wrote;
  }
  return true;
}

static bool read_all(uint8_t *data, size_t size) {
  while (size > 0) {
    ssize_t got = read(DAEMON, data, size);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    data += got;
    size -= (size_t)got;
  }
  return true;
}

/* Without its answer the daemon would wait: it is better told by the end. */
static void answer(struct wire_writer *frame) {
  if (!wire_end(frame) || !write_all(frame->data, frame->size)) _exit(1);
  free(frame->data);
}

#define ANSWER(message, MESSAGE, ...) \
  do { \
    struct wire_writer frame_ = wire_begin(SHIM_##MESSAGE, answered); \
    shim_write_##message(&frame_, &(struct shim_##message){__VA_ARGS__}); \
    answer(&frame_); \
  } while (0)

static void answer_done(uint16_t type) {
  struct wire_writer frame = wire_begin(type, answered);
  answer(&frame);
}

/* Tells the daemon, at most once a second, that work goes on which has an end of its own, but may be long. */
static void goes_on(void) {
  time_t now = seconds_now();
  if (now == told) return;
  told = now;
  answer_done(SHIM_LOOK_GOES_ON);
}

static void answer_failed(int err) {
  ANSWER(failed, FAILED, .kind = SHIM_FAILED_SYSTEM, .error = (uint32_t)-err, .step = "");
}

static void answer_error(int err) {
  if (err < 0) answer_failed(err);
  else answer_done(SHIM_DONE);
}

/* Where it leads, without links. One that does not answer is found now, and not by the OCI runtime; what it answers is no
   matter: what belongs to another user's file server may be closed to root, and still be mounted. */
static void on_look_resolve(const struct shim_look_resolve *want) {
  char path[PATH_MAX];
  struct stat st;
  if (!realpath(want->path, path)) return answer_failed(-errno);
  if (stat(path, &st) < 0) errno = 0;
  ANSWER(look_path, LOOK_PATH, .path = path);
}

static void on_look_link(const struct shim_look_link *want) {
  char target[PATH_MAX];
  ssize_t size = readlink(want->path, target, sizeof target - 1);
  if (size < 0) return answer_failed(-errno);
  target[size] = 0;
  ANSWER(look_path, LOOK_PATH, .path = target);
}

static void on_look_stat(const struct shim_look_stat *want) {
  struct stat st;
  if (stat(want->path, &st) < 0) return answer_failed(-errno);
  ANSWER(look_facts, LOOK_FACTS, .mode = st.st_mode, .uid = st.st_uid, .gid = st.st_gid, .major = major(st.st_rdev),
         .minor = minor(st.st_rdev));
}

static void on_look_file_system(const struct shim_look_file_system *want) {
  struct statfs st;
  if (statfs(want->path, &st) < 0) return answer_failed(-errno);
  ANSWER(look_type, LOOK_TYPE, .magic = (uint32_t)st.f_type);
}

static void on_look_list(const struct shim_look_list *want) {
  struct wire_writer names = {0}, facts = {0};
  struct shim_look_names found = {0};
  int err = list_folder(want->path, want->most, &names, &facts, &found.names.count);
  if (err == 0 && found.names.count) {
    found.names.first = (const char *)names.data + sizeof(uint32_t);
    found.names.size = (uint32_t)names.size;
    found.facts = (struct wire_bytes){facts.data, (uint32_t)facts.size};
  }
  if (err < 0) {
    answer_failed(err);
  } else {
    struct wire_writer frame = wire_begin(SHIM_LOOK_NAMES, answered);
    shim_write_look_names(&frame, &found);
    answer(&frame);
  }
  free(names.data);
  free(facts.data);
}

static void on_look_read(const struct shim_look_read *want) {
  struct wire_writer bytes = {0};
  int err = read_regular(want->path, want->most, &bytes);
  if (err < 0) answer_failed(err);
  else ANSWER(look_bytes, LOOK_BYTES, .bytes = {bytes.data, (uint32_t)bytes.size});
  free(bytes.data);
}

/* Text of a request, to be cut up; false: it is longer than a path can be, and the answer says so. */
static bool take_path(const char *text, char path[PATH_MAX]) {
  size_t size = strlen(text);
  if (size >= PATH_MAX) {
    answer_failed(-ENAMETOOLONG);
    return false;
  }
  memcpy(path, text, size + 1);
  return true;
}

static void on_look_make_path(const struct shim_look_make_path *want) {
  char path[PATH_MAX];
  if (take_path(want->path, path)) answer_error(make_path(path, want->mode & 07777));
}

static void on_look_make_below(const struct shim_look_make_below *want) {
  char path[PATH_MAX];
  if (take_path(want->path, path)) answer_error(make_below(want->top, path, want->mode & 07777));
}

static void on_look_label(const struct shim_look_label *want) {
  answer_error(label_tree(want->path, want->name, want->value, goes_on));
}

/* A mount point takes a directory on a directory and a file on a file. */
static int make_target(const char *target, const char *source) {
  struct stat st;
  if (stat(source, &st) < 0) return -errno;
  if (S_ISDIR(st.st_mode)) return mkdir(target, 0700) < 0 && errno != EEXIST ? -errno : 0;
  cleanup_fd int fd = open(target, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
  return fd < 0 ? -errno : 0;
}

static void on_look_bind(const struct shim_look_bind *want) {
  const char *what, *about;
  const mapped_mount mount = {.source = want->source,
                              .target = want->target,
                              .uids = want->uid_map,
                              .gids = want->gid_map,
                              .attributes = want->limits};
  int err = make_target(want->target, want->source);
  if (err == 0) err = bind_mapped(&mount, &what, &about);
  answer_error(err);
}

static void handle(uint16_t type, struct wire_reader *from) {
#define ON(message, MESSAGE) \
  case SHIM_##MESSAGE: { \
    struct shim_##message want; \
    if (shim_read_##message(from, &want)) on_##message(&want); \
    else answer_failed(-EBADMSG); \
    return; \
  }
  switch (type) {
    ON(look_resolve, LOOK_RESOLVE)
    ON(look_link, LOOK_LINK)
    ON(look_stat, LOOK_STAT)
    ON(look_file_system, LOOK_FILE_SYSTEM)
    ON(look_list, LOOK_LIST)
    ON(look_read, LOOK_READ)
    ON(look_make_path, LOOK_MAKE_PATH)
    ON(look_make_below, LOOK_MAKE_BELOW)
    ON(look_label, LOOK_LABEL)
    ON(look_bind, LOOK_BIND)
    default: answer_failed(-ENOSYS);
  }
#undef ON
}

int main(void) {
  static uint8_t frame[WIRE_LENGTH + MOST_REQUEST];
  umask(0);
  prctl(PR_SET_PDEATHSIG, SIGKILL); /* what hangs does not see the daemon hang up */
  if (fcntl(DAEMON, F_SETFD, FD_CLOEXEC) < 0) return 2;
  syscall(SYS_close_range, DAEMON + 1, ~0U, 0);
  for (;;) {
    uint32_t length;
    uint16_t type;
    if (!read_all(frame, WIRE_LENGTH)) return 0;
    memcpy(&length, frame, sizeof length);
    if (length < WIRE_HEADER - WIRE_LENGTH || length > MOST_REQUEST) return 1;
    if (!read_all(frame + WIRE_LENGTH, length)) return 1;
    memcpy(&type, frame + 4, sizeof type);
    memcpy(&answered, frame + 6, sizeof answered);
    told = seconds_now();
    struct wire_reader from = {.at = frame + WIRE_HEADER, .end = frame + WIRE_LENGTH + length};
    handle(type, &from);
  }
}
