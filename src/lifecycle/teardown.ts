import { rm } from 'node:fs/promises';
import { messageOf } from '../base/fault.ts';
import { log } from '../base/log.ts';
import { runAll, type Step } from '../base/run-all.ts';
import { step } from '../base/trace.ts';
import { type Container, containerAfter } from '../model/container.ts';
import type { ContainerId, PodId } from '../model/ids.ts';
import { type Pod, podAfter } from '../model/pod.ts';
import { killCgroup, removeCgroup } from '../sys/cgroups.ts';
import { mountsBelow } from '../sys/mountinfo.ts';
import { unmount } from '../sys/mounts.ts';
import { removeAnonymousVolumes } from './container/anonymous-volumes.ts';
import { crashPoint } from './crash-point.ts';
import { containersOf, type Deps } from './deps.ts';
import { holdContainer } from './hold.ts';
import { containerCgroup, pauseCgroup, removeLostCgroups, removePodCgroup } from './pod/cgroups.ts';
import { netnsOf, newNetns, pinNetns, unpinNetns } from './pod/netns.ts';
import { ociFault, runOci } from './runtime/oci-command.ts';

/** What of a container says what it owns on the host. */
type Owner = Pick<Container, 'id' | 'podId' | 'cgroupsPath' | 'resolvedHandler'>;

/**
 * What a container owns while it has a process: the OCI runtime's state, its cgroup with everything in it, its root
 * mount. Idempotent; the record, the bundle with its exit file, the writable layer and the log stay.
 */
export async function releaseContainer(
  deps: Pick<Deps, 'layout' | 'ociRuntimes' | 'settings' | 'shims'>,
  container: Owner,
): Promise<void> {
  const { id, podId } = container;
  await runAll(`release container ${id}`, [
    ['processes', () => killCgroup(container.cgroupsPath)],
    ['OCI runtime state', () => deleteOciState(deps, container)],
    ['cgroup', () => removeCgroup(container.cgroupsPath)],
    ['mounts', () => unmountBelow(deps.layout.bundle(podId, id))],
  ]);
}

/** Also what no record tells of: mounts that a crash left. A busy one goes with its last user. */
async function unmountBelow(directory: string): Promise<void> {
  for (const target of await mountsBelow(directory)) unmount(target, { detach: true });
}

/** A removal of all below a directory would go through mounts, into what belongs to others. */
async function removeUnmounted(directory: string): Promise<void> {
  await unmountBelow(directory);
  await rm(directory, { recursive: true, force: true });
}

/** Its processes are killed: force is for what the OCI runtime still takes for alive, or left half-made. */
async function deleteOciState(deps: Pick<Deps, 'ociRuntimes' | 'settings' | 'shims'>, container: Owner): Promise<void> {
  const { id, podId } = container;
  const runtime = await deps.ociRuntimes.of(container);
  for (const force of [false, true]) {
    if (!runtime.knows(id)) return; // not by the exit code: they differ when there was little left to delete
    const shim = await deps.shims.ensure(podId);
    const outcome = await runOci(deps, shim, runtime.delete(id, { force })).catch(async (error) => {
      if ((await runtime.missing()) === null) throw error;
      return null;
    });
    if (!outcome) break; // all else that it made is undone without it
    if (outcome.timedOut) throw await ociFault({ doing: `Cannot delete container ${id}`, runtime }, outcome);
  }
  await rm(runtime.stateOf(id), { recursive: true, force: true });
}

/** The container's layers may have been all that held those of its image: RemoveImage has left them then. */
async function collectLayers(deps: Pick<Deps, 'images'>, { imageId }: Container): Promise<void> {
  if (!deps.images.find(imageId)) await deps.images.collect();
}

/**
 * Everything of a container, its record last. Its process, if any, is killed. One that was never made is not listed
 * meanwhile, as nobody knows it; if something of it stays, it is, so that it can be removed.
 */
export async function teardownContainer(deps: Deps, container: Container): Promise<void> {
  const mark = () => deps.containers.settle(containerAfter(container, { type: 'remove' }));
  if (container.state.phase === 'creating') {
    try {
      return await tearDown(deps, container);
    } catch (error) {
      await mark();
      throw error;
    }
  }
  await mark();
  crashPoint('teardown-container:marked');
  await tearDown(deps, container);
}

async function tearDown(deps: Deps, container: Container): Promise<void> {
  const { id, podId } = container;
  await runAll(`tear down container ${id}`, [
    ['process', () => releaseContainer(deps, container)],
    ['shim entry', () => deps.shims.forget(podId, id)],
    ['writable layer', () => deps.snapshots.remove(id)],
    ['layers of an image that was removed', () => collectLayers(deps, container)],
    ['anonymous volumes', () => removeAnonymousVolumes(deps, id)],
    ['bundle', () => removeUnmounted(deps.layout.bundle(podId, id))],
  ]);
  crashPoint('teardown-container:released');
  deps.containerCreations.claimed(id);
  deps.logLosses.forget(id);
  await deps.containers.delete(id);
}

/**
 * Everything that a pod can own on the host besides its containers: network, pause process, shim, shared memory,
 * cgroup, files. Idempotent, every step runs; failed starts, StopPodSandbox, RemovePodSandbox and recovery call it.
 */
export async function releasePod(deps: Deps, pod: Pod): Promise<void> {
  const paths = deps.layout;
  const { id } = pod;
  // DEL needs the namespace, also when it is tried again: its pin goes last.
  const network = async () => {
    await pinNetns(deps, pod).catch((error: unknown) => {
      log.warn(
        { pod: id, reason: messageOf(error) },
        'A network namespace is lost: plugins undo what they find without it',
      );
    });
    await takeNetworkDown(deps, id);
    crashPoint('release-pod:network');
  };
  const steps: Step[] = [
    ...eachContainer(deps, id, releaseContainer),
    ['network', network],
    ['shim', () => deps.shims.shutdown(id)],
    ['processes', () => killCgroup(pauseCgroup(pod))],
    ['shared memory and files', () => unmount(paths.shared(id), { detach: true })],
    ['pause cgroup', () => removeCgroup(pauseCgroup(pod))],
    ['pod cgroup', () => removePodCgroup(pod)],
  ];
  await runAll(`release pod ${id}`, steps);
  crashPoint('release-pod:released');
  // Only now: a DEL that failed needs the namespace when it is tried again, and bundles hold exit files until all is read.
  unpinNetns(netnsOf(deps, pod));
  await step('file: remove the pod directory', () => removeUnmounted(paths.pod(id)));
}

/** A container of the pod that has no record: what its id tells of it is undone. */
export async function removeLostContainer(
  deps: Pick<Deps, 'layout' | 'ociRuntimes' | 'settings' | 'shims'>,
  pod: Pod,
  id: ContainerId,
): Promise<void> {
  const { resolvedHandler } = pod;
  const owner = { id, podId: pod.id, cgroupsPath: containerCgroup(pod, id), resolvedHandler };
  await runAll(`remove container ${id}, which has no record`, [
    ['process', () => releaseContainer(deps, owner)],
    ['shim entry', () => deps.shims.forget(pod.id, id)],
    ['bundle', () => removeUnmounted(deps.layout.bundle(pod.id, id))],
  ]);
}

/** A pod without a record: its attachments while its namespace is there, its shim, its cgroups, its files. */
export async function removeLostPod(
  deps: Pick<Deps, 'layout' | 'network' | 'settings' | 'shims'>,
  id: PodId,
  containerCgroups: readonly string[],
): Promise<void> {
  await runAll(`remove pod ${id}, which has no record`, [
    ['network', () => takeNetworkDown(deps, id)],
    ['shim', () => deps.shims.shutdown(id)],
    ['cgroups', () => removeLostCgroups(deps, id, containerCgroups)],
  ]);
  // Only now: a DEL that failed needs the namespace when it is tried again.
  unpinNetns(newNetns(deps, id));
  await removeUnmounted(deps.layout.pod(id));
}

/** DEL for all that the pod is attached to, in its shim, also after that one's death. */
const takeNetworkDown = ({ network, shims }: Pick<Deps, 'network' | 'shims'>, id: PodId): Promise<void> =>
  network.down(async (command) => (await shims.ensure(id)).run(command), id);

/** One step a container of the pod, each under the container's lock: its exit may be being recorded, or itself removed. */
function eachContainer(deps: Deps, podId: PodId, work: (deps: Deps, container: Container) => Promise<void>): Step[] {
  return containersOf(deps, podId).map(
    ({ id }): Step => [
      `container ${id}`,
      async () => {
        using held = await holdContainer(deps, id);
        if (held) await work(deps, held.value);
      },
    ],
  );
}

/** Everything of a pod, its containers included, its record last. */
export async function teardownPod(deps: Deps, id: PodId): Promise<void> {
  const pod = deps.pods.get(id);
  if (!pod) return;
  const released = pod.state.phase === 'notReady' && pod.state.released;
  try {
    if (!released) await releasePod(deps, pod);
    await runAll(`tear down pod ${id}`, eachContainer(deps, id, teardownContainer));
  } catch (error) {
    await deps.pods.settle({
      ...pod,
      state: { phase: 'notReady', released, reason: 'teardown failed', network: null },
    });
    throw error;
  }
  crashPoint('teardown-pod:released');
  deps.podCreations.claimed(id);
  await deps.pods.delete(id);
}

/** The pod's record after its release by StopPodSandbox. */
export const releasedPod = (pod: Pod): Pod => podAfter(pod, { type: 'released', reason: 'stopped' });
