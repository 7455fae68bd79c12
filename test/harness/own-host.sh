# shellcheck shell=bash
# A host of a test file's own (own-host.ts): own-host.sh PROGRAM [ARGUMENT...] runs the program in new mount, network and
# pid namespaces, on a host where no container runtime ever ran, and ends with its exit code. What others do to the host
# shows in it as little as what it does shows outside. Cgroups and the disk are shared: files below $TMPDIR and cgroups
# named after $BERTH_OWN_HOST are removed when it ends, however it ended.
set -euo pipefail

if [ -z "${BERTH_OWN_HOST:-}" ]; then
  . "${0%/*}/end-interrupted.sh"
  end_interrupted
  export BERTH_OWN_HOST=$$
  TMPDIR=$(mktemp -d "${TMPDIR:-/tmp}/bt.XXXXXX")
  export TMPDIR
  chmod 711 "$TMPDIR" # the root of a user namespace has to pass through
  namespaces=(--mount --net --pid --fork --kill-child --mount-proc --propagation private)
  unshare "${namespaces[@]}" bash "$0" "$@" <&0 &
  outside=$!
  # Not unshare itself: that returns when all processes of its child's namespace are gone, and with them the cgroups' last.
  trap 'kill -KILL $(cat "/proc/$outside/task/$outside/children") 2>/dev/null || kill -KILL $outside' TERM INT HUP
  code=0
  wait $outside || code=$?
  trap '' TERM INT HUP
  wait $outside || true
  find /sys/fs/cgroup -depth -type d -path "*/bt${BERTH_OWN_HOST}x*" -delete 2>/dev/null || true
  rm -rf "$TMPDIR"
  exit "$code"
fi

# Mounts of others must not live on in this copy. Those that are gone meanwhile are gone from here too.
awk '$5 ~ "^/(run/|tmp/)" { print $5 }' /proc/self/mountinfo | tac |
  while read -r point; do
    [[ $0 != "$point"/* ]] || continue # the checkout
    umount -l "$point" 2>/dev/null || true
  done
mount -t tmpfs -o mode=755 tmpfs /run

# /sys shows the links of the network namespace that it is mounted in.
mkdir /run/cgroup
mount --rbind /sys/fs/cgroup /run/cgroup
mount -t sysfs sysfs /sys
mount --move /run/cgroup /sys/fs/cgroup
rmdir /run/cgroup

# Changes to /etc go to memory.
mkdir /run/etc
mount -t tmpfs -o mode=755 tmpfs /run/etc
mkdir /run/etc/upper /run/etc/work
mount -t overlay -o lowerdir=/etc,upperdir=/run/etc/upper,workdir=/run/etc/work overlay /etc
umount -l /run/etc
rmdir /run/etc
rm -rf /etc/cni /etc/berth

# without FOLDER NAME...: the same folder on a tmpfs, without these names in it.
without() {
  local folder=$1 stage=/run/stage entry
  shift
  mkdir "$stage"
  mount -t tmpfs -o mode=755 tmpfs "$stage"
  for entry in "$folder"/* "$folder"/.[!.]*; do
    local name=${entry##*/}
    [[ " $* " != *" $name "* ]] || continue
    if [ -L "$entry" ]; then cp -P "$entry" "$stage/$name"
    elif [ -d "$entry" ]; then mkdir "$stage/$name"; mount --rbind "$entry" "$stage/$name" || true # it went away
    elif [ -f "$entry" ]; then touch "$stage/$name"; mount --bind "$entry" "$stage/$name" || true
    fi
  done
  mount --move "$stage" "$folder"
  rmdir "$stage"
}
without /opt cni
without /var/lib cni berth
without /var/log pods berth.log

# The nodes that programs need: what is written to one of these harms no disk.
mount -t tmpfs -o mode=755,size=8m dev /dev
mkdir /dev/pts /dev/shm /dev/mqueue /dev/net
while read -r name major minor; do mknod -m 666 "/dev/$name" c "$major" "$minor"; done <<'END'
null 1 3
zero 1 5
full 1 7
random 1 8
urandom 1 9
tty 5 0
kmsg 1 11
fuse 10 229
net/tun 10 200
END
mount -t devpts -o newinstance,mode=620,ptmxmode=666 devpts /dev/pts
mount -t tmpfs -o mode=1777 shm /dev/shm
ln -s pts/ptmx /dev/ptmx
ln -s /proc/self/fd /dev/fd
ln -s fd/0 /dev/stdin
ln -s fd/1 /dev/stdout
ln -s fd/2 /dev/stderr

mount --make-rshared / # as systemd has it
ip link set lo up
"$@" <&0 & # not in place of this shell: it reaps what is left to the first process
wait $!
