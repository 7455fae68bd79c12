import {
  chmodSync,
  closeSync,
  constants,
  mkdirSync,
  openSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import type { PodId } from '../../model/ids.ts';
import type { Pod } from '../../model/pod.ts';
import { isShimOf } from '../../shim/index.ts';
import { bindMount, isMountPoint, mount, mountFlags, unmount } from '../../sys/mounts.ts';
import { makeNamedDirectory } from '../../sys/named-directory.ts';
import type { Deps } from '../deps.ts';
import { usesHostNetwork } from './files.ts';

type Owner = Pick<Deps, 'settings'>;

/**
 * Where the network namespace of a new pod is pinned: in the folder that network agents have mounted and `ip netns` lists,
 * under a name like those that the peers give. It is made of the pod's id, so that a pod without a record leaves none.
 */
export const newNetns = ({ settings }: Owner, id: PodId): string =>
  join(settings.cni.netnsDir, `cni-${id.slice(0, 32).replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-')}`);

/** Where that of this pod is; those of an earlier build have it in their own directory. */
export const netnsOf = ({ layout }: Pick<Deps, 'layout'>, { id, netns }: Pick<Pod, 'id' | 'netns'>): string =>
  netns ?? layout.netns(id);

/**
 * Makes the folder of namespaces, at start: a shared mount, as ip-netns(8) makes it of it. Were it made one later, over pins
 * that are there, these could not be removed; and who has it mounted sees new pins only if it is shared. A mount that is there
 * may be private: one that an operator made, or a start that was cut off between the two steps.
 */
export function prepareNetnsFolder(owner: Owner): void {
  mount('', keepNetnsFolder(owner), '', mountFlags.shared);
}

/** The same, for a new pod: others may have taken the folder away since. Returns where it is, whatever links lead to it. */
export function keepNetnsFolder({ settings }: Owner): string {
  makeFolder(settings.cni.netnsDir);
  const folder = realpathSync(settings.cni.netnsDir);
  if (isMountPoint(folder)) return folder;
  bindMount(folder, folder, { recursive: true });
  mount('', folder, '', mountFlags.shared | mountFlags.recursive);
  return folder;
}

function makeFolder(folder: string): void {
  if (makeNamedDirectory('cni.netns_dir', folder, 0o755)) chmodSync(folder, 0o755); // whatever the umask
}

/**
 * Has the pod's network namespace where CNI plugins look for it, also when its pin was taken away: the pause process is in
 * it. Without the namespace a DEL leaves what plugins find by it, such as the rules of ipMasq.
 */
export async function pinNetns(deps: Pick<Deps, 'layout'>, pod: Pod): Promise<void> {
  const { id, config, state } = pod;
  const place = netnsOf(deps, pod);
  if (usesHostNetwork(config) || state.phase !== 'ready' || isMountPoint(place)) return;
  const pause = openSync(`/proc/${state.pausePid}`, constants.O_RDONLY | constants.O_DIRECTORY); // its own, whoever has the pid later
  try {
    const status = readFileSync(`/proc/self/fd/${pause}/status`, 'utf8');
    const parent = /^PPid:\s*(\d+)$/m.exec(status)?.[1] ?? '';
    if (!isShimOf(deps.layout.pod(id), parent)) return; // a stranger has its pid
    mkdirSync(deps.layout.pod(id), { recursive: true, mode: 0o700 });
    makeFolder(dirname(place));
    writeFileSync(place, '');
    bindMount(`/proc/self/fd/${pause}/ns/net`, place);
  } finally {
    closeSync(pause);
  }
}

/** Whether the pod's namespace is let go, by Berth or behind its back; one on the host's network has none to lose. */
export const isNetnsGone = (deps: Pick<Deps, 'layout'>, pod: Pod): boolean =>
  !usesHostNetwork(pod.config) && !isMountPoint(netnsOf(deps, pod));

/** Lets a namespace go; idempotent. It ends with its last process. */
export function unpinNetns(place: string): void {
  while (isMountPoint(place)) unmount(place, { detach: true });
  rmSync(place, { force: true });
}
