/* Prints the dates of so many days from 1970-01-01 on. */
#include <stdio.h>
#include <stdlib.h>

#include "../date.h"

int main(int argc, char **argv) {
  int64_t days = argc > 1 ? strtol(argv[1], NULL, 10) : 0;
  for (int64_t at = 0; at < days; at++) {
    unsigned year, month, day;
    date_of(at, &year, &month, &day);
    printf("%04u-%02u-%02u\n", year, month, day);
  }
  return 0;
}
