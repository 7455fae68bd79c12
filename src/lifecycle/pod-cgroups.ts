import { join } from 'node:path';
import type { ContainerId, PodId } from '../model/ids.ts';
import type { Pod } from '../model/pod.ts';
import type { Deps } from './deps.ts';

/** The cgroup that holds the pod: kubelet's, or one of Berth's own when the client names none. */
export const podCgroup = (deps: Pick<Deps, 'settings'>, { id, config }: Pick<Pod, 'id' | 'config'>): string =>
  config.cgroupParent || join(deps.settings.cgroupParent, id);

/** True if the pod's cgroup is Berth's to remove. */
export const ownsPodCgroup = ({ config }: Pod): boolean => config.cgroupParent === '';

/** The cgroup of the pause process, below the pod's. */
export const pauseCgroup = (deps: Pick<Deps, 'settings'>, pod: Pick<Pod, 'id' | 'config'>): string =>
  join(podCgroup(deps, pod), pod.id as PodId);

/** The OCI `cgroupsPath` of a container: a path, or slice:prefix:name with the systemd driver. */
export function containerCgroup(
  deps: Pick<Deps, 'settings'>,
  pod: Pick<Pod, 'id' | 'config'>,
  id: ContainerId,
): string {
  if (deps.settings.cgroupDriver === 'systemd') return `${pod.config.cgroupParent || 'system.slice'}:berth:${id}`;
  return join(podCgroup(deps, pod), id);
}
