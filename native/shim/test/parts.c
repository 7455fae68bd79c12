/* Parts of the shim by themselves, with a clock that moves only while nothing else can: parts NAME says what is wrong. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../client.h"
#include "../command.h"
#include "../descent.h"
#include "../exit.h"
#include "../job.h"
#include "../losses.h"
#include "../orphan.h"
#include "../shutdown.h"
#include "../stream.h"
#include "../text.h"

#define EXPECT(what) \
  do { \
    if (what) break; \
    puts(#what); \
    exit(1); \
  } while (0)

static uint64_t clock_ms = 100000, clock_stops = UINT64_MAX;
static struct pollfd asked[16]; /* of the last poll */
static nfds_t asked_count;
static int drained = -1; /* read whenever the loop waits */
static size_t drained_bytes;

/* In the place of the C library's, as far as the shim is concerned. */
int clock_gettime(clockid_t which, struct timespec *now) {
  if (which != CLOCK_MONOTONIC) return (int)syscall(SYS_clock_gettime, which, now);
  *now = (struct timespec){.tv_sec = (time_t)(clock_ms / 1000), .tv_nsec = (long)(clock_ms % 1000) * 1000000};
  return 0;
}

static void drain(void) {
  static char text[65536];
  for (ssize_t got; drained >= 0 && (got = read(drained, text, sizeof text)) > 0;) drained_bytes += (size_t)got;
}

int poll(struct pollfd *fds, nfds_t count, int timeout) {
  drain();
  asked_count = count < 16 ? count : 16;
  if (asked_count) memcpy(asked, fds, asked_count * sizeof *fds);
  int ready = (int)syscall(SYS_poll, fds, count, 0);
  uint64_t until = timeout < 0 ? clock_stops : clock_ms + (uint64_t)timeout;
  if (ready == 0 && until != UINT64_MAX) clock_ms = until < clock_stops ? until : clock_stops;
  return ready;
}

static int awaited = -1; /* a client's end that waits for an answer */
static const char pid_file[] = "parts.pid";
static enum { STAYED, WENT_BEFORE, WENT_AFTER } went; /* the pid file, and the answer */

static bool answered(void) {
  char byte;
  return recv(awaited, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 1;
}

/* In the place of the C library's, too. */
int unlink(const char *path) {
  if (strcmp(path, pid_file) == 0) went = answered() ? WENT_AFTER : WENT_BEFORE;
  return (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}

static int watched(int fd) {
  for (nfds_t i = 0; i < asked_count; i++)
    if (asked[i].fd == fd) return asked[i].events;
  return 0;
}

static void turns(int count) {
  while (count-- > 0) EXPECT(loop_turn() == 0);
}

static void wait_until(uint64_t ms) {
  clock_stops = ms;
  while (clock_ms < ms) turns(1);
}

enum { first_client = 1 };
static size_t handled;
static void handle(uint64_t client, uint16_t type, uint32_t request, struct wire_reader *from) {
  (void)client, (void)type, (void)request, (void)from;
  handled++;
}

/* A client's end of a connection, which does not wait. */
static int connected(int *served) {
  int ends[2];
  EXPECT(clients_listen("parts.sock", handle) == 0);
  EXPECT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0);
  EXPECT(client_open(*served = ends[0]) == 0);
  return ends[1];
}

static void send_bytes(size_t size) {
  struct wire_writer frame = wire_begin(SHIM_DONE, 1);
  EXPECT(wire_room(&frame, size)); /* nobody looks at it: it costs no memory */
  send_frame(first_client, &frame);
}

static void an_unread_client(void) {
  int served, own = connected(&served);
  struct wire_writer question = wire_begin(SHIM_LIST, 1);
  EXPECT(wire_end(&question));
  send_bytes(1 << 20);
  EXPECT(write(own, question.data, question.size) == (ssize_t)question.size);
  turns(1);
  EXPECT(watched(served) == POLLOUT); /* else the loop would turn and turn */
  EXPECT(handled == 0);
  drained = own;
  turns(100);
  EXPECT(handled == 1 && watched(served) == POLLIN);
  free(question.data);
}

static void too_much_unread(void) {
  int served, own = connected(&served);
  const size_t bound = (size_t)4 * SHIM_MAX_TO_DAEMON, size = 16 << 20;
  size_t frames = bound / size;
  for (size_t i = 0; i < frames; i++) send_bytes(size);
  EXPECT(send(own, "", 0, MSG_NOSIGNAL) == 0);
  size_t before = clients_waiting();
  EXPECT(before > bound - size);
  send_bytes(size);
  EXPECT(clients_waiting() == before);
  EXPECT(send(own, "x", 1, MSG_NOSIGNAL) < 0 && errno == EPIPE); /* it ends */
  turns(2);
  EXPECT(clients_waiting() == 0 && !watched(served));
}

static void the_last_answers(void) {
  int served, own = connected(&served);
  send_bytes(1 << 20);
  EXPECT(clients_busy());
  drained = own;
  shutdown_finish();
  drain();
  EXPECT(drained_bytes == WIRE_HEADER + (1 << 20));
}

static void the_last_answers_unread(void) {
  int served;
  connected(&served);
  send_bytes(1 << 20);
  uint64_t begin = clock_ms;
  shutdown_finish();
  EXPECT(clock_ms - begin < 2000);
}

static void an_exit_in_the_first_nanoseconds(void) {
  char file[] = "parts.exit", text[512];
  struct ending ending = {.file = file, .key = "c1", .pid = 7, .at = {.tv_sec = 1, .tv_nsec = 5}};
  exit_record(&ending);
  EXPECT(read_file(file, text, sizeof text) > 0);
  EXPECT(strstr(text, "\"at\":\"1.000000005\""));
}

static void a_link_in_the_place_of_a_file(void) {
  char text[8] = "";
  EXPECT(write_file("parts.file", O_CREAT | O_TRUNC, "old", 3) == 0);
  EXPECT(symlink("parts.file", "parts.link") == 0);
  EXPECT(write_file("parts.link", O_CREAT | O_TRUNC, "new", 3) == -ELOOP);
  EXPECT(read_file("parts.file", text, sizeof text) == 3 && strcmp(text, "old") == 0);
}

static void an_orphan_is_claimed_once(void) {
  int status = 0;
  const pid_t pid = INT32_MAX; /* nobody's */
  orphan_note(pid, 256);
  EXPECT(orphan_claim(pid, &status) == 1 && status == 256);
  EXPECT(orphan_claim(pid, &status) == -ECHILD);
  orphan_note(pid, 1);
  orphan_note(pid, 2);
  EXPECT(orphan_claim(pid, &status) == 1 && status == 2); /* the latest of a pid */
  orphans_forget();
}

static void losses_are_told_once_a_second(void) {
  struct log_file log = {.lost_lines = 1};
  struct losses losses = {.key = "c1", .log = &log, .known = true};
  losses_grew(&losses);
  wait_until(100010);
  EXPECT(losses.told_lines == 1); /* after a silence: at once */
  log.lost_lines = 2;
  losses_grew(&losses);
  wait_until(100900);
  EXPECT(losses.told_lines == 1);
  wait_until(101100);
  EXPECT(losses.told_lines == 2);
}

static void a_capture_is_bounded(void) {
  int ends[2];
  EXPECT(pipe2(ends, O_CLOEXEC) == 0);
  struct stream *stream = stream_open(ends[0], "stdout", SIZE_MAX);
  EXPECT(stream && stream->limit == SHIM_MAX_CAPTURE);
  stream_free(stream);
  close(ends[1]);
}

static bool flows;
static void flow(struct taps *taps, bool on) {
  (void)taps;
  flows = on;
}

/* Its reader's end; it is full, and more waits for it. */
static int stalled_tap(struct taps *taps) {
  static char text[1 << 20];
  *taps = (struct taps){.flow = flow};
  int reader = tap_open(taps);
  EXPECT(reader >= 0);
  taps_feed(taps, text, sizeof text);
  EXPECT(taps->stalled == 1 && !flows);
  return reader;
}

static void a_tap_that_is_not_read(void) {
  struct taps taps;
  stalled_tap(&taps);
  wait_until(101900);
  EXPECT(taps.first && !flows);
  wait_until(102100);
  EXPECT(!taps.first && flows);
}

static void a_tap_that_is_read_slowly(void) {
  static char text[65536];
  struct taps taps;
  int reader = stalled_tap(&taps);
  wait_until(101500);
  EXPECT(read(reader, text, sizeof text) > 0);
  wait_until(103000);
  EXPECT(taps.first);
  wait_until(103600);
  EXPECT(!taps.first);
}

/* Who has the answer to a command finds nothing of it: an exec of this program, with a pid file from before. */
static void no_pid_file_is_left(const char *program, const char *script) {
  const char *const texts[] = {program, "-c", script};
  char argv[200] = "", *at = argv;
  for (size_t i = 0; i < 3; i++) at = (char *)wire_next(strcpy(at, texts[i]));
  int served, status, own = connected(&served);
  struct shim_exec want = {
      .argv = {argv, 3, 0}, .env = {"", 0, 0}, .cwd = ".", .pid_file = pid_file, .start_deadline_ms = 60000};
  EXPECT(write_file(pid_file, O_CREAT, "7", 1) == 0);
  awaited = own;
  command_exec(first_client, 1, &want);
  pid_t pid = waitpid(-1, &status, 0);
  EXPECT(pid > 0 && jobs_reaped(pid, status));
  EXPECT(answered() && !jobs_running());
  EXPECT(went == WENT_BEFORE);
}

static void a_command_that_fails(void) { no_pid_file_is_left("/bin/sh", "exit 3"); }
static void a_command_that_is_not_there(void) { no_pid_file_is_left("/nowhere", ""); }
static void a_command_that_lies(void) { no_pid_file_is_left("/bin/sh", "echo none >parts.pid"); }

static uint32_t dice = 1;
static pid_t below(uint32_t most) {
  dice = dice * 1664525 + 1013904223;
  return (pid_t)((dice >> 8) % most);
}

/* What descent_mark is for, in its plainest words. */
static bool belongs(const struct table *table, const struct member *member, pid_t root, pid_t own) {
  if (member->of[BY_PID] == root) return true;
  for (size_t i = 0; i < table->count; i++) {
    const struct member *other = &table->members[i];
    pid_t session = other->of[BY_SESSION];
    if (!other->in) continue;
    if (member->of[BY_PARENT] == other->of[BY_PID]) return true;
    if (member->of[BY_SESSION] == session && session > 0 && session != own) return true;
  }
  return false;
}

static void mark_plainly(struct table *table, pid_t root, pid_t own) {
  for (bool grew = true; grew;) {
    grew = false;
    for (size_t i = 0; i < table->count; i++) {
      struct member *member = &table->members[i];
      if (member->in || !belongs(table, member, root, own)) continue;
      member->in = grew = true;
    }
  }
}

static void descent_in_small_tables(void) {
  enum { ROUNDS = 20000, PIDS = 24, OWN = 3 };
  for (int round = 0; round < ROUNDS; round++) {
    struct table table = {0}, plain = {0}, done = {0};
    for (pid_t count = below(PIDS); count > 0; count--) {
      struct member member = {.of = {1 + below(PIDS), below(PIDS), below(PIDS / 2)}, .started = (uint64_t)below(2)};
      EXPECT(table_add(&table, member) && table_add(&plain, member));
      if (below(3) == 0) EXPECT(table_add(&done, member));
    }
    pid_t root = 1 + below(PIDS);
    mark_plainly(&plain, root, OWN);
    descent_mark(&table, root, OWN);
    for (size_t i = 0; i < table.count; i++) EXPECT(table.members[i].in == plain.members[i].in);
    descent_leave_out(&table, &done);
    for (size_t i = 0; i < table.count; i++) {
      struct member *member = &table.members[i];
      bool left_out = false;
      for (size_t j = 0; j < done.count; j++)
        if (done.members[j].of[BY_PID] == member->of[BY_PID] && done.members[j].started == member->started)
          left_out = true;
      EXPECT(member->in == (plain.members[i].in && !left_out));
    }
    free(table.members), free(plain.members), free(done.members);
  }
}

/* Each the child of the one before, or all in one session: compared with each other they would take minutes. */
static void descent_of_very_many(void) {
  enum { MANY = 300000 };
  for (int shape = 0; shape < 2; shape++) {
    struct table table = {0};
    for (pid_t pid = MANY; pid > 0; pid--) /* the root comes last */
      EXPECT(table_add(&table, (struct member){.of = {pid, shape ? 0 : pid - 1, shape ? MANY : pid}}));
    descent_mark(&table, 1, 0);
    for (size_t i = 0; i < table.count; i++) EXPECT(table.members[i].in);
    descent_leave_out(&table, &table);
    for (size_t i = 0; i < table.count; i++) EXPECT(!table.members[i].in);
    free(table.members);
  }
}

static const struct {
  const char *name;
  void (*run)(void);
} parts[] = {
    {"what belongs to a process, in small tables", descent_in_small_tables},
    {"what belongs to a process is found among very many at once", descent_of_very_many},
    {"a client that does not read is not asked, and keeps nobody busy", an_unread_client},
    {"a client that leaves too much unread is ended", too_much_unread},
    {"the last answers are written before the end", the_last_answers},
    {"the last answers, if nobody reads them, have an end", the_last_answers_unread},
    {"an exit in the first nanoseconds of a second", an_exit_in_the_first_nanoseconds},
    {"a link in the place of a file is not written through", a_link_in_the_place_of_a_file},
    {"an orphan is claimed once", an_orphan_is_claimed_once},
    {"losses are told once a second", losses_are_told_once_a_second},
    {"a capture is bounded, whatever was asked for", a_capture_is_bounded},
    {"who is attached and does not read is cut off in the end", a_tap_that_is_not_read},
    {"who is attached and reads slowly is not", a_tap_that_is_read_slowly},
    {"a command that fails is answered when its pid file is gone", a_command_that_fails},
    {"so is one that cannot be run", a_command_that_is_not_there},
    {"so is one whose pid file names nothing", a_command_that_lies},
};

/* In an empty folder: the names, or one of them. */
int main(int argc, char **argv) {
  for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
    if (argc < 2) puts(parts[i].name);
    else if (strcmp(argv[1], parts[i].name) == 0) parts[i].run();
  }
  return 0;
}
