/* CRI log lines. */
#ifndef BERTH_SHIM_LOG_H
#define BERTH_SHIM_LOG_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct log_file {
  int fd;
  char *path, *folder, *name; /* the name is below the folder; no folder: the path has no link */
  off_t began; /* its size when it was opened for a new process */
  off_t whole; /* where it is to end: what follows is half a record that could not be taken back; -1: nothing does */
  uint64_t lost_bytes, lost_lines;
  int lost_error; /* the errno of the latest loss */
  void (*lost)(struct log_file *); /* told of each loss */
};
struct log_line { /* text that no newline ended yet */
  char *text;
  size_t size;
  bool open; /* what is in the log ends with a piece */
  bool cut; /* the line of that piece has ended, and its end was lost */
  bool lost; /* a piece was lost: so is the rest of the line */
};
void log_cool(void);
int log_open(const struct log_file *log);
void log_begin(struct log_file *log, int fd); /* for a new process */
void log_take_back(struct log_file *log); /* all that was written since */
void log_go_on(struct log_file *log, int fd); /* in another file */
void log_free(struct log_file *log);
void log_feed(struct log_file *log, struct log_line *line, const char *name, const char *text, size_t size);
void log_end_line(struct log_file *log, struct log_line *line, const char *name);

#endif
