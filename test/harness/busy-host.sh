#!/bin/bash
# A host that others use: busy-host.sh COMMAND [ARGUMENT...] makes and removes cgroups, mounts, network namespaces, links,
# iptables rules, files and processes all the time while the command runs, and ends with its exit code. No test's verdict
# may depend on it: busy-host.sh scripts/test test/node/pods.test.ts
set -euo pipefail
[ $# -gt 0 ] || { echo "usage: $0 COMMAND [ARGUMENT...]" >&2; exit 2; }
name=busy$$
scratch=$(mktemp -d /tmp/berth-busy.XXXXXX)
mkdir "/run/$name"

# Makes what a runtime makes, under names of its own, and removes it. In every step it is there for a moment.
churn() {
  local own=$name-$1 each
  for each in /sys/fs/cgroup/*/; do mkdir "$each$own" "$each$own/pod" 2>/dev/null || true; done
  mkdir "/run/$name/$1" "$scratch/$1"
  mount -t tmpfs "$own" "/run/$name/$1"
  mount -t tmpfs "$own" "$scratch/$1"
  echo x >"/run/$name/$1/file"
  ip netns add "$own"
  ip link add "$own" type bridge
  ip link add "$own-v" type veth peer name "$own-w"
  ip link set "$own-w" netns "$own"
  iptables -w -t nat -N "CNI-$own"
  iptables -w -t nat -A "CNI-$own" -s 10.100.0.2 -j ACCEPT -m comment --comment "name: $own"
  sleep 0.1 &
  undo "$1"
  wait
}

# Idempotent, for an end in the middle.
undo() {
  local own=$name-$1 each
  {
    iptables -w -t nat -F "CNI-$own"
    iptables -w -t nat -X "CNI-$own"
    ip link delete "$own-v"
    ip link delete "$own"
    ip netns delete "$own"
    umount -l "/run/$name/$1"
    umount -l "$scratch/$1"
    rmdir "/run/$name/$1" "$scratch/$1"
    for each in /sys/fs/cgroup/*/; do rmdir "$each$own/pod" "$each$own"; done
  } 2>/dev/null || true
}

ever() {
  trap 'exit 0' TERM
  while :; do churn "$1"; done
}
loops=()
for loop in a b; do
  ever "$loop" &
  loops+=($!)
done
end() {
  kill "${loops[@]}" 2>/dev/null || true
  wait "${loops[@]}" || true
  for loop in a b; do undo "$loop"; done
  rmdir "/run/$name" "$scratch"
}
trap end EXIT
"$@"
