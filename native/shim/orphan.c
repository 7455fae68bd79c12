/* Statuses of children that nobody has claimed yet. */
#include "orphan.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "text.h"

/* A process may end before the OCI runtime that made it does, and so before its pid file is read. The newest statuses
   are kept while such a command is in flight; a container's own orphans come here too, hence the bound. */
enum { MAX_ORPHANS = 4096 };
struct orphan {
  pid_t pid;
  int status;
};
static struct orphan *orphans;
static size_t noted;

void orphan_note(pid_t pid, int status) {
  if (!orphans && !(orphans = calloc(MAX_ORPHANS, sizeof *orphans))) {
    complain("no memory to keep the status of", "an orphan", ENOMEM);
    return;
  }
  orphans[noted++ % MAX_ORPHANS] = (struct orphan){pid, status};
}

int orphan_claim(pid_t pid, int *status) {
  siginfo_t info = {0};
  /* Asked first: a live child may have taken over the pid of a noted one. */
  if (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0) return 0;
  size_t kept = noted < MAX_ORPHANS ? noted : MAX_ORPHANS;
  for (size_t i = 0; i < kept; i++) {
    struct orphan *orphan = &orphans[(noted - 1 - i) % MAX_ORPHANS];
    if (orphan->pid != pid) continue;
    *status = orphan->status;
    orphan->pid = 0;
    return 1;
  }
  return -ECHILD;
}

void orphans_forget(void) {
  free(orphans);
  orphans = NULL;
  noted = 0;
}
