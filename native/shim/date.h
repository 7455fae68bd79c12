/* The date of a day. */
#ifndef BERTH_SHIM_DATE_H
#define BERTH_SHIM_DATE_H
#include <stdint.h>

/* Proleptic Gregorian, of a day since 1970-01-01. */
void date_of(int64_t days, unsigned *year, unsigned *month, unsigned *day);

#endif
