/* What a container's command is run by if bytes of its environment are not UTF-8. config.json, by which an OCI runtime learns
   of variables, holds no such bytes: each of them came as the character of its number (U+0080 to U+00FF, two bytes of UTF-8).
   This puts the bytes in their place and becomes the command. It runs in the container, as its user, with its rights: a
   program of its own, without a library.

     berth-environment COUNT NAME... COMMAND ARGUMENT...    the variables to change, COUNT of them, then what to run */
#include <linux/errno.h>
#include <stddef.h>

#include "../bare.h"

#if defined(__x86_64__)
__asm__(".globl _start\n_start:\n xor %ebp, %ebp\n mov %rsp, %rdi\n and $-16, %rsp\n call environment_main\n");
#else
__asm__(".globl _start\n_start:\n mov x0, sp\n b environment_main\n");
#endif

enum { NOT_RUNNABLE = 126, NOT_FOUND = 127, LONGEST_PATH = 4096 };

static size_t length(const char *text) {
  size_t size = 0;
  while (text[size] != '\0') size++;
  return size;
}

/* The value of an entry NAME=VALUE of this name, or NULL. */
static char *value_of(char *entry, const char *name) {
  while (*name != '\0' && *entry == *name) entry++, name++;
  return *name == '\0' && *entry == '=' ? entry + 1 : NULL;
}

/* Two bytes of UTF-8 become one: the text only grows shorter. */
static void put_bytes(char *value) {
  const unsigned char *from = (const unsigned char *)value;
  for (; *from != '\0'; from++) {
    int pair = (*from == 0xc2 || *from == 0xc3) && from[1] != '\0';
    *value++ = (char)(pair ? (from[0] & 3) << 6 | (from[1] & 0x3f) : from[0]);
    from += pair;
  }
  *value = '\0';
}

static long run(const char *path, char **command, char **env) {
  return call(__NR_execve, (long)path, (long)command, (long)env, 0, 0);
}

/* As a shell looks for it, but not in the working directory. Returns the error. */
static long run_in_path(char **command, char **env) {
  static char place[2 * LONGEST_PATH];
  size_t size = length(command[0]);
  const char *folders = "";
  long worst = -ENOENT;
  for (char **entry = env; *entry; entry++) {
    const char *found = value_of(*entry, "PATH");
    if (found) folders = found;
  }
  if (size == 0 || size >= LONGEST_PATH) return -ENOENT;
  for (const char *folder = folders, *stop; *folder != '\0'; folder = *stop ? stop + 1 : stop) {
    size_t all = 0;
    for (stop = folder; *stop != '\0' && *stop != ':'; stop++)
      if (all < LONGEST_PATH - 1) place[all++] = *stop;
    if (stop == folder || *folder != '/' || all == LONGEST_PATH - 1) continue;
    place[all++] = '/';
    for (size_t i = 0; i <= size; i++) place[all + i] = command[0][i];
    long error = run(place, command, env);
    if (error != -ENOENT && error != -ENOTDIR) worst = error;
  }
  return worst;
}

static void say(const char *text) { call(__NR_write, 2, (long)text, (long)length(text), 0, 0); }

_Noreturn void environment_main(long *stack);
_Noreturn void environment_main(long *stack) {
  long argc = stack[0], count = 0, error = -ENOENT;
  char **argv = (char **)(stack + 1), **env = argv + argc + 1;
  for (const char *digit = argc > 1 ? argv[1] : ""; *digit >= '0' && *digit <= '9' && count < argc; digit++)
    count = count * 10 + (*digit - '0');
  if (argc < count + 3) end(NOT_FOUND);
  char **names = argv + 2, **command = names + count;
  for (char **entry = env; *entry; entry++)
    for (char **name = names; name < command; name++) {
      char *value = value_of(*entry, *name);
      if (value) put_bytes(value);
    }
  int is_path = 0;
  for (const char *at = command[0]; *at != '\0'; at++) is_path |= *at == '/';
  error = is_path ? run(command[0], command, env) : run_in_path(command, env);
  say("berth: the command ");
  say(command[0]);
  say(error == -ENOENT ? " is not there\n" : " cannot be run\n");
  end(error == -ENOENT ? NOT_FOUND : NOT_RUNNABLE);
}
