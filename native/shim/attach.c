/* Handing out descriptors of what a running process reads and writes. */
#include "attach.h"

#include <fcntl.h>

#include "client.h"
#include "descriptor.h"
#include "process.h"
#include "stream.h"

static void add(struct parcel *parcel, bool *given, int fd) {
  *given = fd >= 0;
  if (*given) parcel->fd[parcel->count++] = fd;
}

void attach(uint64_t client, uint32_t request, struct process *process, const struct shim_attach *want) {
  struct parcel parcel = {0};
  struct shim_opened opened = {0};
  if (process->tty || want->stdin) add(&parcel, &opened.input, fcntl(process->input, F_DUPFD_CLOEXEC, 3));
  if (want->once && want->stdin && !process->tty) { /* the client's is the last: the process sees its end */
    close_held(&process->input);
    process->input = -1;
  }
  struct stream *out = process->stream[0], *err = process->stream[1];
  if (want->stdout && !stream_ended(out)) add(&parcel, &opened.stdout, tap_open(&out->taps));
  if (want->stderr && !stream_ended(err)) add(&parcel, &opened.stderr, tap_open(&err->taps));
  struct wire_writer frame = wire_begin(SHIM_OPENED, request);
  shim_write_opened(&frame, &opened);
  send_parcel(client, &frame, parcel);
}
