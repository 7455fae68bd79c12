import { basename, dirname, join } from 'node:path';
import { invalidArgument } from '../../base/fault.ts';
import type { Settings } from '../../base/settings.ts';
import type { PodConfig } from '../../model/config.ts';
import type { Handler } from '../../model/handler.ts';
import type { ContainerId, PodId } from '../../model/ids.ts';
import type { Pod } from '../../model/pod.ts';
import { cgroupEntrance, createCgroup, killCgroup, removeCgroup } from '../../sys/cgroups.ts';
import { startScope, startUnit, stopUnit } from '../../sys/systemd.ts';

type Owner = { readonly settings: Pick<Settings, 'cgroupDriver' | 'cgroupParent' | 'systemdScopePrefix'> };
/** What of a pod's record says where its cgroups are, and whose hand makes and removes them. */
type Placed = Pick<Pod, 'id' | 'cgroup' | 'scopePrefix'> & { readonly resolvedHandler: Pick<Handler, 'systemdCgroup'> };

const bySystemd = ({ settings }: Owner): boolean => settings.cgroupDriver === 'systemd';

/** Units were called `berth-<id>.scope` before there was a setting; the OCI runtimes make them of a prefix and the id. */
const firstPrefix = 'berth';

/**
 * The cgroup that will hold a new pod: kubelet's, or one of Berth's own when the client names none. With the systemd driver
 * it is a slice, by its name alone: that spells its parents. The pod's record keeps it: another configuration is for others.
 */
export function newPodCgroup(owner: Owner, id: PodId, { cgroupParent }: Pick<PodConfig, 'cgroupParent'>): string {
  // Always from the root: an OCI runtime takes a relative path from where it happens to be itself.
  if (!bySystemd(owner)) return join('/', cgroupParent || join(owner.settings.cgroupParent, id));
  return cgroupParent === '' ? `${ownSlice(owner)}-pod${id}.slice` : basename(cgroupParent);
}

/** `/berth` is `berth.slice` to systemd; dashes in it would mean parents. */
const ownSlice = ({ settings }: Owner): string =>
  basename(settings.cgroupParent).replace(/[^A-Za-z0-9]/g, '_') || 'berth';

/** True if the pod's cgroup is Berth's to remove. */
export const ownsPodCgroup = ({ config }: Pick<Pod, 'config'>): boolean => config.cgroupParent === '';

/** The cgroup of the pause process, below the pod's. */
export const pauseCgroup = (pod: Placed): string => below(pod, pod.id);

/** The OCI `cgroupsPath` of a container: a path, or slice:prefix:name with the systemd driver. */
export const containerCgroup = (pod: Placed, id: ContainerId): string => below(pod, id);

const below = ({ cgroup, scopePrefix = firstPrefix, resolvedHandler }: Placed, id: string): string =>
  resolvedHandler.systemdCgroup ? `${cgroup}:${scopePrefix}:${id}` : join(cgroup, id);

/**
 * Removes the cgroups of a pod whose record is lost, by what is known of it: its id, and where its containers were
 * (`cgroupsPath` of each). A parent that was kubelet's stays.
 */
export async function removeLostCgroups(owner: Owner, id: PodId, containers: readonly string[]): Promise<void> {
  const config = { cgroupParent: '' } as Pod['config'];
  const resolvedHandler = { systemdCgroup: bySystemd(owner) };
  const own = { id, config, resolvedHandler, cgroup: newPodCgroup(owner, id, config) };
  const prefixes = [owner.settings.systemdScopePrefix, firstPrefix];
  const pauses = containers.map((path) => (path.includes(':') ? path.replace(/[^:]*$/, id) : join(dirname(path), id)));
  for (const path of new Set([...pauses, ...prefixes.map((scopePrefix) => pauseCgroup({ ...own, scopePrefix }))])) {
    await killCgroup(path);
    await removeCgroup(path);
  }
  await removePodCgroup(own);
}

/** @throws Fault InvalidArgument if the client's cgroup parent is not of the driver's kind. */
export function checkCgroupParent(owner: Owner, { cgroupParent }: Pod['config']): void {
  if (!bySystemd(owner) || cgroupParent === '' || /^[A-Za-z0-9:_.\\-]+\.slice$/.test(basename(cgroupParent))) return;
  throw invalidArgument(
    `cgroup_parent ${JSON.stringify(cgroupParent.slice(0, 200))} is not a slice, but Berth's cgroup_driver is systemd: ` +
      "set kubelet's and Berth's cgroup driver to the same",
  );
}

/** Makes the cgroup of pods without a parent, at start: its absence, or systemd's, is better known then. */
export async function prepareCgroups(owner: Owner): Promise<void> {
  if (bySystemd(owner)) await startUnit(`${ownSlice(owner)}.slice`);
  else await createCgroup(owner.settings.cgroupParent);
}

/** Makes what the pause process enters before it is there; a scope is made with it (placePause). */
export async function makePauseCgroup(pod: Placed): Promise<void> {
  if (!pod.resolvedHandler.systemdCgroup) await createCgroup(pauseCgroup(pod));
}

/** How the pause process enters what was made for it. */
export const pauseEntrance = (pod: Placed): { tasks: string[]; folder: string } =>
  pod.resolvedHandler.systemdCgroup ? { tasks: [], folder: '' } : cgroupEntrance(pauseCgroup(pod));

/** With the systemd driver: moves the pause process, which until now was in its shim's cgroup, to a scope. */
export async function placePause(pod: Placed & Pick<Pod, 'config'>, pausePid: number): Promise<void> {
  if (!pod.resolvedHandler.systemdCgroup) return;
  const { namespace, name } = pod.config.metadata;
  await startScope(
    `${pod.scopePrefix ?? firstPrefix}-${pod.id}.scope`,
    pod.cgroup,
    pausePid,
    `Namespaces of pod ${namespace}/${name}`,
  );
}

/** Removes the pod's cgroup; idempotent. A slice goes only by systemd's hand. */
export async function removePodCgroup(pod: Placed & Pick<Pod, 'config'>): Promise<void> {
  if (!ownsPodCgroup(pod)) return;
  if (pod.resolvedHandler.systemdCgroup) await stopUnit(pod.cgroup);
  await removeCgroup(pod.cgroup);
}
