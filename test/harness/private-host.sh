# The first process of a private host (private-host.ts): in new mount, network and pid namespaces. Ends with its input.
set -euo pipefail

# Other tests' mounts must not live on in this copy. Those that are gone meanwhile are gone from here too.
awk '$5 ~ "^/(run/|tmp/berth-)" { print $5 }' /proc/self/mountinfo | tac |
  while read -r point; do umount -l "$point" 2>/dev/null || true; done
mount -t tmpfs -o mode=755 tmpfs /run

# hide FOLDER NAME...: the same folder on a tmpfs, without these names in it.
hide() {
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
hide /etc cni berth
hide /opt cni
hide /var/lib cni berth
hide /var/log pods berth.log

ip link set lo up
echo ready
read -r || true
