/* Commands in flight. */
#ifndef BERTH_SHIM_JOB_H
#define BERTH_SHIM_JOB_H
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "console.h"
#include "loop.h"

struct process;
struct spawn;
struct stream;
enum kind { RUN, START, EXEC, OPEN };
/* Whose end it waits for; `pid` is that one's. */
enum phase {
  COMMAND, /* the command's */
  AWAITED, /* what the OCI runtime made: it is not our child yet */
  TARGET, /* the same, as our child */
  OVER, /* nobody's: the process that counts is gone, and its streams may be open yet */
};
enum stop { GOES_ON, CANCELLED, TIMED_OUT };

/* A command in flight. RUN ends with the command; START and EXEC go on with the process that it made, START by
   handing it to the tracked ones (process.h), EXEC by waiting for it here, OPEN too, with its stdio handed to the client. */
struct job {
  struct job *next;
  uint64_t client;
  uint32_t request;
  enum kind kind;
  enum phase phase;
  pid_t pid; /* 0: not there, reaped, or given up */
  enum stop stop; /* why it was killed */
  int failure, status;
  bool started; /* what the OCI runtime made is there, or was */
  uint32_t deadline_ms, drain_ms;
  uint64_t begun_us, ended_us; /* of the command */
  struct timer deadline, drain;
  struct stream *stream[2];
  bool wanted[2]; /* OPEN: the client gets this stream */
  int input; /* OPEN: the write end of standard input, or -1 */
  struct process *process;
  struct console console;
  char *pid_file;
  struct source log; /* START: where its log comes from, before the OCI runtime begins */
  int log_failure;
  uint32_t start_ms; /* what the OCI runtime may take, once the log is there */
  char name[200];
};

/* One that its request fills in; NULL: it is answered. */
struct job *job_new(uint64_t client, uint32_t request, enum kind kind, const char *pid_file);
int job_open_log(struct job *job); /* the child's end of the socket by which the log will come; or -errno */
/* Takes stdio[0], whatever comes of it; -errno there is the reason why it could not be opened. */
bool job_begin(struct job *job, struct spawn *spawn, size_t limit, uint32_t deadline_ms);
void job_fail(struct job *job, int err, const char *step, const char *about); /* answers, and is the job's end */
bool job_cancel(uint64_t client, uint32_t request);
bool jobs_reaped(pid_t pid, int status);
/* After children were reaped: what they left behind may be ours now. */
void jobs_adopt(void);
bool jobs_running(void);
void jobs_kill(void);

#endif
