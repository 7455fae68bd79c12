import { closeSync, constants, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import type { Pod } from '../../model/pod.ts';
import { isShimOf } from '../../shim/index.ts';
import { bindMount, isMountPoint } from '../../sys/mounts.ts';
import type { Deps } from '../deps.ts';
import { usesHostNetwork } from './files.ts';

/**
 * Has the pod's network namespace where CNI plugins look for it, also when its pin was taken away: the pause process is in
 * it. Without the namespace a DEL leaves what plugins find by it, such as the rules of ipMasq.
 */
export async function pinNetns(deps: Pick<Deps, 'layout'>, { id, config, state }: Pod): Promise<void> {
  const place = deps.layout.netns(id);
  if (usesHostNetwork(config) || state.phase !== 'ready' || isMountPoint(place)) return;
  const pause = openSync(`/proc/${state.pausePid}`, constants.O_RDONLY | constants.O_DIRECTORY); // its own, whoever has the pid later
  try {
    const status = readFileSync(`/proc/self/fd/${pause}/status`, 'utf8');
    const parent = /^PPid:\s*(\d+)$/m.exec(status)?.[1] ?? '';
    if (!isShimOf(deps.layout.pod(id), parent)) return; // a stranger has its pid
    mkdirSync(deps.layout.pod(id), { recursive: true, mode: 0o700 });
    writeFileSync(place, '');
    bindMount(`/proc/self/fd/${pause}/ns/net`, place);
  } finally {
    closeSync(pause);
  }
}
