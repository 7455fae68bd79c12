# shellcheck shell=bash
# The host that a fuzzed shim gets, in new mount, network, pid and ipc namespaces: the shim is root and runs what frames
# say, so all that is the host's is read-only or not there. /run is what may be written. Then runs its arguments.
set -eu

mount -t tmpfs -o mode=755,size=512m tmpfs /run
mount -t proc -o subset=pid proc /proc # no sysctls, no sysrq
mount -t tmpfs -o ro tmpfs /sys
mkdir /run/dev /run/dev/pts
mount -t tmpfs -o mode=755,size=64k dev /run/dev
mkdir /run/dev/pts
mknod /run/dev/null c 1 3
mknod /run/dev/zero c 1 5
mknod /run/dev/urandom c 1 9
chmod 666 /run/dev/null /run/dev/zero /run/dev/urandom
mount -t devpts -o newinstance,ptmxmode=0666 devpts /run/dev/pts
ln -s pts/ptmx /run/dev/ptmx
mount --move /run/dev /dev
rmdir /run/dev/pts /run/dev
awk '{ print $5 }' /proc/self/mountinfo | while read -r point; do
  case $point in /run | /proc | /dev/pts) continue ;; esac
  mount -o remount,bind,ro "$(printf '%b' "$point")" 2>/dev/null || true # one that is covered cannot be reached either
done
for place in / /tmp /var /home /etc /dev /root "$PWD"; do
  ! touch "$place/berth-fuzz" 2>/dev/null || { echo "$place can be written" >&2; rm "$place/berth-fuzz"; exit 1; }
done
ip link set lo up
"$@" & # not in place of this shell: it reaps what is left to the first process
wait $!
