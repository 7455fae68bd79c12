/* The end of the program: everything is killed, what was asked is answered. */
#include "shutdown.h"

#include "client.h"
#include "job.h"
#include "loop.h"
#include "process.h"
#include "reopen.h"
#include "sandbox.h"

enum { SHUTDOWN_MS = 3000, FLUSH_MS = 1000 };
static struct {
  bool wanted;
  uint64_t client, until;
  uint32_t request;
  struct timer wake; /* so that poll() ends when nothing else happens */
} ending;

static void wake(struct timer *timer) { (void)timer; }

bool shutting_down(void) { return ending.wanted; }

bool shutdown_wanted(uint64_t client, uint32_t request, bool force) {
  if (!force && processes_running()) return false;
  ending.client = client;
  ending.request = request;
  if (ending.wanted) return true;
  ending.wanted = true;
  ending.until = now_ms() + SHUTDOWN_MS;
  jobs_kill();
  openers_kill();
  processes_kill();
  sandbox_end();
  timer_arm(&ending.wake, SHUTDOWN_MS, wake);
  return true;
}

bool shutdown_complete(void) {
  if (!ending.wanted) return false;
  bool busy = jobs_running() || processes_running() || sandbox_pid();
  return !busy || now_ms() > ending.until;
}

void shutdown_finish(void) {
  if (ending.wanted) send_done(ending.client, ending.request);
  processes_forget();
  timer_arm(&ending.wake, FLUSH_MS, wake);
  while (clients_busy() && ending.wake.at) loop_turn();
  clients_close();
}
