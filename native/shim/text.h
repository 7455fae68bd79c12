/* Text and small files without stdio, which would cost memory in every shim. */
#ifndef BERTH_SHIM_TEXT_H
#define BERTH_SHIM_TEXT_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

bool join_parts(char *out, size_t capacity, const char *const *parts, size_t count); /* false: cut short */
#define join(out, ...) \
  join_parts(out, sizeof(out), (const char *const[]){__VA_ARGS__}, \
             sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))
char *decimal(char text[24], uint64_t value, unsigned width);
ssize_t read_file(const char *path, char *text, size_t capacity); /* bytes, text ends with NUL; or -errno */
pid_t read_pid(const char *path); /* what a program wrote there for us; or -errno */
int write_file(const char *path, int flags, const char *text, size_t size);
int open_namespace(pid_t pid, const char *type); /* of a child that is not reaped; or -errno */
void complain(const char *what, const char *about, int err);

#endif
