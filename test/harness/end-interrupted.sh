# shellcheck shell=bash
# Ends what an interrupted test run left: processes in cgroups that are named after a test host, or after a program that is on
# none (own-host.ts), which is gone. A frozen process takes no SIGKILL before it is thawed, and keeps its namespaces, mounts and cgroups until then.
# Sourced by own-host.sh; what it does not see all of (processes of another pid namespace are 0 here) it leaves alone.
end_interrupted() {
  local folder host file pids
  for folder in /sys/fs/cgroup/bt*x* /sys/fs/cgroup/*/bt*x*; do
    host=${folder##*/bt}
    host=${host%%x*}
    [[ $host =~ ^p?[0-9]+$ ]] || continue
    case $host in
      p*) [ ! -e "/proc/${host#p}" ] || continue ;;
      *) ! grep -qs own-host.sh "/proc/$host/cmdline" || continue ;;
    esac
    pids=$(find "$folder" -name cgroup.procs -exec cat {} + 2>/dev/null) || true
    [ -n "$pids" ] && ! grep -qx 0 <<<"$pids" || continue
    echo "own-host: ends what an interrupted run left in $folder" >&2
    # SIGKILL comes first: thawed, nothing of it runs on.
    kill -KILL $pids 2>/dev/null || true
    while read -r file; do
      case $file in
        */freezer.state) echo THAWED >"$file" ;;
        *) echo 0 >"$file" ;;
      esac
    done 2>/dev/null < <(find "$folder" \( -name freezer.state -o -name cgroup.freeze \)) || true
    for _ in {1..100}; do
      find "$folder" -depth -type d -delete 2>/dev/null || true
      [ -d "$folder" ] || break
      sleep 0.05 # what was killed is on its way
    done
  done
}
