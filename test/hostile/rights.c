/* Sends descriptors over a unix socket: rights SOCKET COUNT [terminal], with what is on standard input, or one byte if
   nothing is. They are of a new terminal's master, or of /dev/null. As an OCI runtime does it on a console socket, and as
   nobody should on the shim's. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { MOST = 253 }; /* SCM_MAX_FD */

int main(int count, char **words) {
  if (count < 3) return 2;
  static char text[65536];
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  strncpy(address.sun_path, words[1], sizeof address.sun_path - 1);
  int wanted = atoi(words[2]), fd = socket(AF_UNIX, SOCK_STREAM, 0), fds[MOST];
  if (wanted < 1 || wanted > MOST || connect(fd, (struct sockaddr *)&address, sizeof address) < 0) return 1;
  for (int i = 0; i < wanted; i++) fds[i] = open(count > 3 ? "/dev/ptmx" : "/dev/null", O_RDWR | O_NOCTTY);
  ssize_t size = read(0, text, sizeof text);
  char control[CMSG_SPACE(sizeof fds)] __attribute__((aligned(8))) = {0};
  struct iovec part = {.iov_base = text, .iov_len = size > 0 ? (size_t)size : 1};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control,
                           .msg_controllen = CMSG_SPACE((size_t)wanted * sizeof(int))};
  *CMSG_FIRSTHDR(&message) = (struct cmsghdr){
      .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN((size_t)wanted * sizeof(int))};
  memcpy(CMSG_DATA(CMSG_FIRSTHDR(&message)), fds, (size_t)wanted * sizeof(int));
  return sendmsg(fd, &message, MSG_NOSIGNAL) < 0;
}
