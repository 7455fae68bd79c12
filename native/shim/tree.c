/* What descends from this process and its children, from /proc. */
#include "tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "descent.h"
#include "descriptor.h"
#include "text.h"

static uint64_t number_at(const char **text) {
  uint64_t value = 0;
  while (**text == ' ') ++*text;
  bool negative = **text == '-';
  if (negative) ++*text;
  while (**text >= '0' && **text <= '9') value = value * 10 + (uint64_t)(*(*text)++ - '0');
  return negative ? 0 : value;
}

/* proc_pid_stat(5): pid (comm) state ppid pgrp session ... starttime is field 22. comm may hold anything, also ')'. */
static bool read_member(pid_t pid, struct member *member) {
  char path[48], digits[24], text[1024];
  join(path, "/proc/", decimal(digits, (uint64_t)pid, 1), "/stat");
  if (read_file(path, text, sizeof text) <= 0) return false;
  const char *at = strrchr(text, ')');
  if (!at || strlen(at) < 4) return false;
  *member = (struct member){.of = {[BY_PID] = pid}, .zombie = at[2] == 'Z' || at[2] == 'X'};
  at += 3;
  for (int field = 4; field <= 22; field++) {
    uint64_t value = number_at(&at);
    if (field == 4) member->of[BY_PARENT] = (pid_t)value;
    if (field == 6) member->of[BY_SESSION] = (pid_t)value;
    if (field == 22) member->started = value;
  }
  return true;
}

/* The child of ours that this process is, or descends from; 0: it is a stranger, or gone. */
pid_t tree_child_above(pid_t pid) {
  for (int tries = 0; tries < 3; tries++) { /* one on the way up may end, and its child's parent change, meanwhile */
    struct member member = {.of = {[BY_PARENT] = pid}};
    for (int up = 0; up < 64 && member.of[BY_PARENT] > 1; up++) {
      if (!read_member(member.of[BY_PARENT], &member)) break;
      if (member.of[BY_PARENT] == getpid()) return member.of[BY_PID];
    }
  }
  return 0;
}

/* Adds the children that one thread made. false: this kernel has no such file, or there is no room. */
static bool add_children(struct table *table, const char *process, const char *thread) {
  char path[80], text[4096];
  struct member member;
  join(path, "/proc/", process, "/task/", thread, "/children");
  cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  pid_t pid = 0;
  for (ssize_t size; (size = read(fd, text, sizeof text)) > 0;) {
    for (ssize_t i = 0; i < size; i++) {
      if (text[i] >= '0' && text[i] <= '9') {
        pid = pid * 10 + (text[i] - '0');
        continue;
      }
      if (pid > 0 && read_member(pid, &member) && !table_add(table, member)) return false;
      pid = 0;
    }
  }
  return true;
}

/* All that descends from this process: what its children abandon comes to it. proc_pid_children(5) (CONFIG_PROC_CHILDREN,
   which every distribution has) may miss one while another ends; whoever must have all of them looks again. */
static bool scan_below(struct table *table) {
  pid_t pid = getpid();
  table->count = 0;
  for (size_t next = 0;; pid = table->members[next++].of[BY_PID]) {
    char path[48], digits[24], *process = decimal(digits, (uint64_t)pid, 1);
    join(path, "/proc/", process, "/task");
    DIR *threads = opendir(path);
    bool looked = false;
    for (struct dirent *entry; threads && (entry = readdir(threads));)
      if (entry->d_name[0] != '.' && add_children(table, process, entry->d_name)) looked = true;
    if (threads) closedir(threads);
    if (pid == getpid() && !looked) return false;
    if (next == table->count) return true;
  }
}

/* Every process there is: it costs as much as the host has of them. */
static void scan_all(struct table *table) {
  DIR *proc = opendir("/proc");
  struct member member;
  table->count = 0;
  for (struct dirent *entry; proc && (entry = readdir(proc));) {
    const char *name = entry->d_name;
    pid_t pid = (pid_t)number_at(&name);
    if (pid > 0 && !*name && read_member(pid, &member) && !table_add(table, member)) break;
  }
  if (proc) closedir(proc);
}

/* Never signals a stranger that took over the pid since the scan. */
static void signal_member(const struct member *member, int signo) {
  struct member now;
  cleanup_fd int fd = (int)syscall(SYS_pidfd_open, member->of[BY_PID], 0);
  if (fd >= 0 && read_member(member->of[BY_PID], &now) && now.started == member->started)
    syscall(SYS_pidfd_send_signal, fd, signo, NULL, 0);
}

/* Signals the root and everything below it that is not in `done` yet, and notes it there. Returns how many those were. All
   are found before any is signalled: what the end of one abandons, in a session of its own, is nobody's any more. */
static size_t signal_once(pid_t root, int signo, struct table *done) {
  struct table table = {0};
  size_t signalled = 0;
  if (!scan_below(&table)) scan_all(&table);
  descent_mark(&table, root, getsid(0));
  descent_leave_out(&table, done);
  for (size_t i = 0; i < table.count; i++) {
    const struct member *member = &table.members[i];
    if (!member->in || member->zombie) continue;
    signal_member(member, signo);
    signalled++;
    if (!table_add(done, *member)) break;
  }
  free(table.members);
  return signalled;
}

/* Signals the root, which is a child of ours that is not reaped yet, and all that descends from it. */
void tree_signal(pid_t root, int signo) {
  struct table done = {0};
  signal_once(root, signo, &done);
  free(done.members);
}

/* `NSpid:\t1234\t1`, of proc_pid_status(5): what the process is to us, and in each PID namespace from there down. */
static bool ends_with_one(const char *numbers, const char *end) {
  const char *last = numbers;
  for (const char *at = numbers; at < end; at++)
    if (*at == '\t') last = at;
  return last > numbers && end - last == 2 && last[1] == '1';
}

/* The groups, which come before, may fill half a megabyte. */
static bool is_first_of_namespace(pid_t pid) {
  static const char field[] = "\nNSpid:";
  enum { LONGEST_LINE = 512 };
  char path[48], digits[24], text[4096];
  join(path, "/proc/", decimal(digits, (uint64_t)pid, 1), "/status");
  cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  size_t size = 0;
  for (ssize_t got; (got = read(fd, text + size, sizeof text - 1 - size)) > 0;) {
    size += (size_t)got;
    text[size] = 0;
    const char *line = strstr(text, field), *end = line ? strchr(line + 1, '\n') : NULL;
    if (end) return ends_with_one(line + sizeof field - 1, end);
    if (size <= LONGEST_LINE) continue;
    memmove(text, text + size - LONGEST_LINE, LONGEST_LINE);
    size = LONGEST_LINE;
  }
  return false;
}

/* Kills the root, which is a child of ours that is not reaped yet, and all that descends from it. */
void tree_kill(pid_t root) {
  /* It takes all of its namespace with it (pid_namespaces(7)), tens of thousands of processes too, which it would take us
     long to find: meanwhile nobody's output is read. */
  if (is_first_of_namespace(root)) {
    kill(root, SIGKILL);
    return;
  }
  struct table done = {0};
  /* Stopped, none of them makes children or abandons those it has, so scans that find nothing new have found everything:
     two, as one may miss what has a dying sibling. The bound is for something that forks faster than we scan. */
  kill(root, SIGSTOP);
  for (int round = 0, idle = 0; round < 64 && idle < 2; round++)
    idle = signal_once(root, SIGSTOP, &done) ? 0 : idle + 1;
  for (size_t i = 0; i < done.count; i++) signal_member(&done.members[i], SIGKILL);
  kill(root, SIGKILL);
  free(done.members);
}
