/* New small files get their content and attributes on a thread beside the caller's, which makes the next ones meanwhile. */
#ifndef BERTH_FINISHER_H
#define BERTH_FINISHER_H
#include "attributes.h"

typedef struct finisher finisher;

/* What one file gets; `path` is what an error calls it. */
typedef struct {
  const char *path;
  const uint8_t *data;
  size_t size;
  const attributes *attributes;
} file_content;

/*
 * Takes the descriptor of a new, empty file: it is filled and closed now or later, and `content` is copied if later. Makes the
 * finisher with the first file. 0, or -errno of this file. Where an earlier one failed nothing more is done: see finish_files.
 */
int finish_file(finisher **f, int fd, const file_content *content);

/* Returns once all are done. The first -errno of those that came later, and the path of that file; else 0. */
int finish_files(finisher *f, const char **path);

/* Whether a file failed after its call: the rest is in vain. */
bool finisher_failed(finisher *f);

/* Waits for what is under way, and drops the rest. NULL is nothing. */
void free_finisher(finisher *f);

#endif
