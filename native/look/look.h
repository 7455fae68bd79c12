/* What the looker's files share. */
#ifndef BERTH_LOOK_H
#define BERTH_LOOK_H
#include "../addon/held.h"
#include "../addon/root.h"
#include "../shim/protocol.h"

/* folders.c: 0 or -errno. */
/* And what is missing above it; the text stays as it is. */
int make_path(char *path, mode_t mode);
/* `path` is relative, made name by name, through no link; the text is cut up. */
int make_below(const char *top, char *path, mode_t mode);

/* reading.c */
enum { FACTS = 5 }; /* numbers of one name: mode, uid, gid, major, minor */
int list_folder(const char *path, uint32_t most, struct wire_writer *names, struct wire_writer *facts, uint32_t *count);
/* -EFBIG: it has more; -ENOTSUP: it is no such file. */
int read_regular(const char *path, uint32_t most, struct wire_writer *bytes);

/* label.c: `goes_on` is called for each file. */
int label_tree(const char *path, const char *name, const char *value, void (*goes_on)(void));

#endif
