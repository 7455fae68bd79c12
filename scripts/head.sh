# shellcheck shell=bash
# Sourced first by the scripts that need root: --help prints the comment at their head, and who is not root is told at once.
for word in "$@"; do
  case $word in --help | -h) sed -n '2,/^[^#]/s/^# \?//p' "$0" && exit ;; esac
done
[ "$(id -u)" = 0 ] || { echo "$0: must run as root: sudo $0${*:+ $*}" >&2; exit 1; }
