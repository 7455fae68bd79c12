import { readdirSync, readFileSync } from 'node:fs';

/** What keeps a pod's processes for other runtimes of Kubernetes, as their command lines tell them; Docker's and Podman's are not meant. */
const keepers = [
  {
    runtime: 'containerd',
    socket: '/run/containerd/containerd.sock',
    command: /^\S*containerd-shim\S* .*-namespace k8s\.io /,
  },
  { runtime: 'CRI-O', socket: '/var/run/crio/crio.sock', command: /^\S*conmon(rs)? .*\/crio\// },
] as const;

export type OtherRuntime = { readonly runtime: string; readonly socket: string; readonly keepers: number };

/** Runtimes beside this one that have pods here, whether or not their daemons run. */
export const otherRuntimes = (commands: readonly string[] = commandLines()): OtherRuntime[] =>
  keepers
    .map(({ command, ...rest }) => ({ ...rest, keepers: commands.filter((line) => command.test(line)).length }))
    .filter((each) => each.keepers > 0);

function commandLines(): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        return [`${readFileSync(`/proc/${pid}/cmdline`, 'latin1').replaceAll('\0', ' ')} `];
      } catch {
        return []; // it ended meanwhile
      }
    });
}
