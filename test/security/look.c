/* What a container can see and do of processes through /proc and ptrace: look PID ...
   A line for each: `<pid> <what> <outcome>`; `refused` is one outcome, the others say what was had. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *pid;
static char path[256];

static const char *at(const char *what) {
  snprintf(path, sizeof path, "/proc/%s/%s", pid, what);
  return path;
}

static void say(const char *what, const char *outcome) { printf("%s %s %s\n", pid, what, outcome); }

static int entries(DIR *folder) {
  int count = 0;
  for (struct dirent *entry; (entry = readdir(folder));) count += entry->d_name[0] != '.';
  closedir(folder);
  return count;
}

/* A directory behind a link of /proc: refused, empty, or what it has and whether it can be written. */
static void look_directory(const char *what, int fd) {
  char outcome[64];
  if (fd < 0) return say(what, "refused");
  bool writable = faccessat(fd, ".", W_OK, 0) == 0;
  DIR *folder = fdopendir(openat(fd, ".", O_RDONLY | O_DIRECTORY));
  int count = folder ? entries(folder) : -1;
  snprintf(outcome, sizeof outcome, "%d-entries%s", count, writable ? ",writable" : "");
  say(what, count == 0 && !writable ? "empty" : outcome);
}

static void look_namespace(void) {
  int fd = open(at("ns/mnt"), O_RDONLY);
  if (fd < 0) return say("ns/mnt", "refused");
  fflush(stdout);
  if (fork() == 0) {
    if (setns(fd, CLONE_NEWNS) < 0) say("ns/mnt", "not-joined");
    else look_directory("ns/mnt", open("/", O_RDONLY | O_DIRECTORY));
    fflush(stdout);
    _exit(0);
  }
  wait(NULL);
}

static void look_bytes(const char *what, int flags) {
  char text[4096], outcome[64];
  int fd = open(at(what), flags);
  if (fd < 0) return say(what, "refused");
  ssize_t size = read(fd, text, sizeof text);
  if (size < 0) return say(what, errno == EIO ? "unreadable" : "refused");
  snprintf(outcome, sizeof outcome, "%zd-bytes", size);
  say(what, size ? outcome : "empty");
}

/* Their numbers can be listed by anybody of the same user; what is behind them is what counts. */
static void look_descriptors(void) {
  char link[4096];
  int count = 0, followed = 0, fd = open(at("fd"), O_RDONLY | O_DIRECTORY);
  DIR *folder = fd < 0 ? NULL : fdopendir(fd);
  for (struct dirent *entry; folder && (entry = readdir(folder));) {
    if (entry->d_name[0] == '.') continue;
    count++;
    if (readlinkat(fd, entry->d_name, link, sizeof link) >= 0 || openat(fd, entry->d_name, O_PATH) >= 0) followed++;
  }
  say("fd", followed ? "open" : folder && !count ? "empty" : "refused");
}

static void look(void) {
  char link[4096];
  look_directory("root", open(at("root"), O_PATH | O_DIRECTORY));
  look_directory("cwd", open(at("cwd"), O_PATH | O_DIRECTORY));
  int fd = open(at("exe"), O_RDONLY);
  ssize_t size = readlink(path, link, sizeof link - 1);
  link[size < 0 ? 0 : size] = 0;
  say("exe", fd < 0 ? "refused" : link);
  look_descriptors();
  look_namespace();
  look_bytes("environ", O_RDONLY);
  say("mem", open(at("mem"), O_RDWR) < 0 ? "refused" : "opened");
  long seized = ptrace(PTRACE_SEIZE, atoi(pid), NULL, NULL);
  say("ptrace", seized < 0 ? "refused" : "traced");
  if (seized == 0) ptrace(PTRACE_DETACH, atoi(pid), NULL, NULL);
}

int main(int count, char **pids) {
  for (int i = 1; i < count; i++) {
    pid = pids[i];
    look();
  }
  return 0;
}
