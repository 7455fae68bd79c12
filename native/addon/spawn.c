/* Keepers: programs that outlive the daemon. node:child_process forks, which copies the page tables of a large process;
   posix_spawn shares them until exec. */
#include "spawn.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "held.h"
#include "work.h"

enum { SOCKET_IN_CHILD = 3 };

static int prepare(posix_spawn_file_actions_t *actions, posix_spawnattr_t *attributes, int log, int socket) {
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  int err = posix_spawn_file_actions_addopen(actions, 0, "/dev/null", O_RDONLY, 0);
  if (!err) err = posix_spawn_file_actions_addopen(actions, 1, "/dev/null", O_WRONLY, 0);
  if (!err) err = posix_spawn_file_actions_adddup2(actions, log, 2);
  if (!err)
    err = posix_spawn_file_actions_adddup2(actions, socket, SOCKET_IN_CHILD); /* also when it is 3: clears O_CLOEXEC */
  if (!err) err = posix_spawnattr_setsigmask(attributes, &none);
  if (!err) err = posix_spawnattr_setsigdefault(attributes, &all);
  short flags = POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF;
  return err ? err : posix_spawnattr_setflags(attributes, flags);
}

/* A session of its own, an empty environment, standard error to `log`, and `socket` as descriptor 3. 0 or an errno. */
static int spawn_keeper(const char *program, const char *argument, int log, int socket, pid_t *pid) {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  int err = posix_spawn_file_actions_init(&actions);
  if (err) return err;
  err = posix_spawnattr_init(&attributes);
  if (!err) {
    char *const argv[] = {(char *)program, (char *)argument, NULL}, *const environment[] = {NULL};
    err = prepare(&actions, &attributes, log, socket);
    if (!err) err = posix_spawn(pid, program, &actions, &attributes, argv, environment);
    posix_spawnattr_destroy(&attributes);
  }
  posix_spawn_file_actions_destroy(&actions);
  return err;
}

typedef struct {
  addon_work work;
  int log, ours;
  pid_t pid;
  char program[PATH_MAX], argument[PATH_MAX];
} job;

/* posix_spawn holds its thread up until the child's exec: not the event loop's. */
static int run_spawn(addon_work *work) {
  job *j = (job *)work;
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0) return -errno;
  int err = spawn_keeper(j->program, j->argument, j->log, ends[1], &j->pid);
  close(ends[1]);
  if (err) close(ends[0]);
  j->ours = ends[0];
  return -err;
}

static napi_value spawned(napi_env env, addon_work *work) {
  const job *j = (job *)work;
  napi_value pair = NULL;
  napi_create_array_with_length(env, 2, &pair);
  napi_set_element(env, pair, 0, make_int(env, j->pid));
  napi_set_element(env, pair, 1, make_int(env, j->ours));
  return pair;
}

/* spawnKeeper(program, argument, logFd): a promise of [pid, our end of its socket]. */
napi_value spawn_keeper_call(napi_env env, napi_callback_info info) {
  napi_value args[3];
  job *j = calloc(1, sizeof *j);
  if (!j) return addon_throw_errno(env, ENOMEM, "allocate", NULL);
  j->work = (addon_work){.run = run_spawn, .result = spawned, .what = "spawn", .path = j->program};
  if (!take_arguments(env, info, 3, args) || !take_path(env, args[0], j->program) ||
      !take_path(env, args[1], j->argument))
    return addon_drop(&j->work);
  if (napi_get_value_int32(env, args[2], &j->log) != napi_ok) {
    addon_drop(&j->work);
    return addon_throw_type(env, "logFd must be a number");
  }
  return addon_start(env, &j->work);
}

static bool take_pid(napi_env env, napi_callback_info info, int32_t *pid) {
  napi_value arguments[1];
  if (!take_arguments(env, info, 1, arguments)) return false;
  if (napi_get_value_int32(env, arguments[0], pid) == napi_ok && *pid > 0) return true;
  addon_throw_type(env, "pid must be a positive number");
  return false;
}

/* reap(pid): takes the exit status of a child that has ended; one that is not ours, or runs, is left alone. */
napi_value reap_call(napi_env env, napi_callback_info info) {
  int32_t pid;
  if (!take_pid(env, info, &pid)) return NULL;
  waitpid(pid, NULL, WNOHANG);
  return NULL;
}

/* openProcess(pid): a descriptor of a process, which can be read when that has ended (pidfd_open(2)). */
napi_value open_process_call(napi_env env, napi_callback_info info) {
  int32_t pid;
  if (!take_pid(env, info, &pid)) return NULL;
  int fd = (int)syscall(SYS_pidfd_open, pid, 0);
  return fd < 0 ? addon_throw_errno(env, errno, "pidfd_open", NULL) : make_int(env, fd);
}

/* endProcess(code): ends this process as _exit(2) does, with nothing that is otherwise run at an end. */
napi_value end_process_call(napi_env env, napi_callback_info info) {
  napi_value arguments[1];
  int32_t code;
  if (!take_arguments(env, info, 1, arguments)) return NULL;
  if (napi_get_value_int32(env, arguments[0], &code) != napi_ok) return addon_throw_type(env, "code must be a number");
  _exit(code);
}
