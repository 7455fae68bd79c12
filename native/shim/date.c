/* The date of a day. */
#include "date.h"

/* The year is taken to begin in March, after the leap day. */
void date_of(int64_t days, unsigned *year, unsigned *month, unsigned *day) {
  days += 719468;
  unsigned era_day = (unsigned)(days % 146097);
  unsigned era_year = (era_day - era_day / 1460 + era_day / 36524 - era_day / 146096) / 365;
  unsigned year_day = era_day - (365 * era_year + era_year / 4 - era_year / 100);
  unsigned shifted = (5 * year_day + 2) / 153;
  *day = year_day - (153 * shifted + 2) / 5 + 1;
  *month = shifted < 10 ? shifted + 3 : shifted - 9;
  *year = (unsigned)(days / 146097 * 400) + era_year + (*month <= 2);
}
