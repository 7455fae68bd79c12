/* Logs of running processes that are opened anew, after they were rotated: each by a child of its own, with a deadline. */
#include "reopen.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client.h"
#include "descriptor.h"
#include "loop.h"
#include "opener.h"
#include "process.h"
#include "text.h"

enum { MAX_OPENERS = 64 };
struct opener {
  struct source source;
  struct timer late;
  struct opener *next;
  uint64_t client;
  uint32_t request;
  pid_t pid; /* 0: reaped */
  char *key;
};
static struct opener *openers;

static void opener_free(struct opener *opener) {
  for (struct opener **at = &openers; *at; at = &(*at)->next) {
    if (*at != opener) continue;
    *at = opener->next;
    break;
  }
  timer_stop(&opener->late);
  source_close(&opener->source);
  free(opener->key);
  free(opener);
}

/* Nobody waits for the end of what is stuck in the kernel. */
static void give_up(struct timer *timer) {
  struct opener *opener = container_of(timer, struct opener, late);
  const struct process *process = process_find(opener->key);
  const char *path = process ? process->log.path : "";
  if (opener->pid) kill(opener->pid, SIGKILL);
  complain("it takes too long to open the log", path, ETIMEDOUT);
  send_failed(opener->client, opener->request, SHIM_FAILED_SYSTEM, ETIMEDOUT, "open the log", path);
  opener_free(opener);
}

static void opened(struct source *source) {
  struct opener *opener = container_of(source, struct opener, source);
  struct process *process = process_find(opener->key);
  int fd = log_take_over(source->fd);
  if (fd == -EAGAIN) return;
  if (fd < 0) {
    send_failed(opener->client, opener->request, SHIM_FAILED_SYSTEM, fd, "open the log",
                process ? process->log.path : "");
  } else if (!process || !process->running) {
    close(fd);
    send_failed(opener->client, opener->request, SHIM_FAILED_NOT_RUNNING, ESRCH, "reopen the log of", opener->key);
  } else {
    log_go_on(&process->log, fd);
    send_done(opener->client, opener->request);
  }
  opener_free(opener);
}

static struct opener *opener_new(const char *key) {
  size_t count = 0;
  for (const struct opener *other = openers; other; other = other->next) count++;
  struct opener *opener = count < MAX_OPENERS ? calloc(1, sizeof *opener) : NULL;
  if (!opener) return NULL;
  opener->source.fd = -1;
  opener->next = openers;
  openers = opener;
  if ((opener->key = strdup(key))) return opener;
  opener_free(opener);
  return NULL;
}

void log_reopen(uint64_t client, uint32_t request, const struct process *process, uint32_t deadline_ms) {
  int ends[2] = {-1, -1};
  struct opener *opener = opener_new(process->key);
  if (!opener) return send_failed(client, request, SHIM_FAILED_BUSY, ENOMEM, "open the log", process->log.path);
  opener->client = client;
  opener->request = request;
  int failed = open_sockets(ends);
  if (!failed) failed = source_open(&opener->source, ends[0], POLLIN, opened);
  if (failed) close_held(&ends[0]);
  pid_t pid = failed ? -1 : fork();
  if (pid == 0) {
    log_hand_over(&process->log, ends[1], ends[1]);
    _exit(0);
  }
  if (!failed && pid < 0) failed = -errno;
  close_held(&ends[1]);
  if (failed) {
    send_failed(client, request, SHIM_FAILED_SYSTEM, failed, "open the log", process->log.path);
    return opener_free(opener);
  }
  opener->pid = pid;
  timer_arm(&opener->late, deadline_ms ? deadline_ms : LOG_OPEN_MS, give_up);
}

bool openers_reaped(pid_t pid) {
  for (struct opener *opener = openers; opener; opener = opener->next) {
    if (opener->pid != pid) continue;
    opener->pid = 0; /* what it said is in the socket */
    return true;
  }
  return false;
}

void openers_kill(void) {
  for (const struct opener *opener = openers; opener; opener = opener->next)
    if (opener->pid) kill(opener->pid, SIGKILL);
}
