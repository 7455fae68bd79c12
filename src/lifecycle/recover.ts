import { readdirSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Fault, isErrno, messageOf } from '../base/fault.ts';
import { log } from '../base/log.ts';
import { traced } from '../base/trace.ts';
import { type Container, containerAfter, type Exit } from '../model/container.ts';
import { type ContainerId, isId, type PodId } from '../model/ids.ts';
import type { Pod } from '../model/pod.ts';
import type { Shim } from '../shim/index.ts';
import { sweepAnonymousVolumes } from './container/anonymous-volumes.ts';
import { containersOf, type Deps } from './deps.ts';
import { applyExit, exitFrom, exitOnFile, onLogLost, podDown, unseenExit, writtenExit } from './exits.ts';
import { makePodDirectory } from './pod/files.ts';
import { pinNetns } from './pod/netns.ts';
import { isWantOfOurs, untilWeHaveMs } from './runtime/shims.ts';
import { recordStart } from './start-container.ts';
import { releaseContainer, removeLostContainer, removeLostPod, teardownContainer, teardownPod } from './teardown.ts';

type Listed = Awaited<ReturnType<Shim['list']>>;

const pollMs = 10;

/**
 * Brings records and host together after a start of the daemon, whatever ended the last one: half-made objects are torn
 * down, exits that happened meanwhile are read from their files, what no record names is removed. Every pod is its own
 * task, so that one stuck dependency delays no other pod; calls are served meanwhile (deps.mending). Resolves when all is
 * true again; failures are logged.
 */
export async function recover(deps: Deps): Promise<void> {
  await Promise.all(
    [...deps.pods.all()].map(async (pod) => {
      const work = attempt(`pod ${pod.id}`, () => mend(deps, pod));
      deps.mending.track(pod.id, work);
      await work;
    }),
  );
  await attempt('containers without a pod', () => removeOrphans(deps));
  await attempt('CNI GC', () => deps.network.collectGarbage(() => [...deps.pods.all()].map((pod) => pod.id)));
  await attempt('pod directories', () => sweepRunDirectory(deps));
  await attempt("OCI runtimes' state", () => sweepOciState(deps));
  await attempt('CNI attachments that were kept', () => deps.network.settle(attachedPods(deps)));
  await attempt('writable layers', () => sweepSnapshots(deps));
  await attempt('anonymous volumes', () => sweepAnonymousVolumes(deps));
}

/** Those whose network is there, or is yet to be taken down by their teardown. */
const attachedPods = ({ pods }: Pick<Deps, 'pods'>): PodId[] =>
  [...pods.all()].filter(({ state }) => state.phase !== 'notReady' || !state.released).map(({ id }) => id);

async function attempt(what: string, work: () => Promise<unknown>): Promise<void> {
  try {
    await work();
  } catch (error) {
    logFailure(what, error);
  }
}

const logFailure = (what: string, error: unknown) =>
  log.error({ what, reason: messageOf(error) }, 'Recovery of a part failed');

/** As a call, so that it is seen what a pod that takes long waits for. */
function mend(deps: Deps, pod: Pod): Promise<void> {
  const work = () => {
    traced(pod.id, pod.id);
    return recoverPatiently(deps, pod);
  };
  return deps.traces.call('mend', work, { kept: false });
}

/** Nothing is known of a pod while the daemon lacks descriptors or memory to ask for it: it is asked again. */
async function recoverPatiently(deps: Deps, pod: Pod): Promise<void> {
  for (;;) {
    try {
      return await recoverPod(deps, pod);
    } catch (error) {
      if (!isWantOfOurs(error)) throw error;
      logFailure(`pod ${pod.id}, which is tried again`, error);
      await delay(untilWeHaveMs);
    }
  }
}

async function recoverPod(deps: Deps, pod: Pod): Promise<void> {
  using _ = await deps.locks.hold(pod.id);
  if (pod.state.phase === 'creating') return teardownPod(deps, pod.id);
  if (pod.bootId !== deps.bootId) await afterReboot(deps, pod);
  const released = pod.state.phase === 'notReady' && pod.state.released;
  const shim = released || pod.bootId !== deps.bootId ? null : await shimOf(deps, pod);
  const listed = await shim?.list();
  for (const { key, lost } of listed?.processes ?? []) if (lost.bytes > 0) onLogLost(deps, key, lost);
  if (pod.state.phase === 'ready') {
    if (!shim) await podDown(deps, pod.id, 'its shim is gone');
    else if (listed?.pausePid !== pod.state.pausePid) await podDown(deps, pod.id, 'its pause process is gone');
    else if (containersOf(deps, pod.id).length === 0) deps.podCreations.unheard(pod.id);
  }
  for (const container of containersOf(deps, pod.id)) {
    const process = shim && listed ? await settledProcess(deps, shim, listed, container.id) : undefined;
    await attempt(`container ${container.id}`, () => recoverContainer(deps, container, process));
  }
  for (const id of lostContainers(deps, pod.id)) {
    await attempt(`container ${id}, which has no record`, () => removeLostContainer(deps, pod, id));
  }
}

/** The shim of a pod of this boot, or null. What an earlier build left open is closed, and what others took away is back. */
async function shimOf(deps: Deps, pod: Pod): Promise<Shim | null> {
  await makePodDirectory(deps, pod);
  await attempt(`network namespace of pod ${pod.id}`, () => pinNetns(deps, pod)); // before its holder is killed
  return deps.shims.findOrKill(pod.id);
}

/** Those that have a bundle and no record. */
function lostContainers(deps: Pick<Deps, 'containers' | 'layout'>, podId: PodId): ContainerId[] {
  const names = namesIn(deps.layout.bundles(podId));
  return names.filter((name) => !deps.containers.get(name as ContainerId)) as ContainerId[];
}

/**
 * What the shim has of a container, after the OCI runtime that a crash left at work has come to its end. `listed`: what it
 * said last.
 */
async function settledProcess(
  deps: Pick<Deps, 'settings'>,
  shim: Shim,
  listed: Listed,
  id: ContainerId,
): Promise<Listed['processes'][number] | undefined> {
  const end = performance.now() + deps.settings.timeouts.ociRuntime * 1000;
  for (let { processes } = listed; ; { processes } = await shim.list()) {
    const process = processes.find(({ key }) => key === id);
    if (process?.pid !== 0 || process.exit) return process;
    if (performance.now() > end) throw new Fault('DeadlineExceeded', `The start of container ${id} does not end`);
    await delay(pollMs);
  }
}

/** Nothing of the last boot runs any more; the records say so before anything else looks at them. */
async function afterReboot(deps: Pick<Deps, 'containers' | 'pods'>, pod: Pod): Promise<void> {
  await podDown(deps, pod.id, 'the host was rebooted');
  for (const container of containersOf(deps, pod.id)) {
    if (container.state.phase !== 'running') continue;
    await deps.containers.settle(
      containerAfter(container, { type: 'ended', exit: unseenExit('the host was rebooted') }),
    );
  }
}

async function recoverContainer(
  deps: Deps,
  container: Container,
  process: Listed['processes'][number] | undefined,
): Promise<void> {
  const { id } = container;
  const { phase } = deps.containers.get(id)?.state ?? container.state;
  let ended: Exit | null = process?.exit ? exitFrom(process.exit) : null;
  if (phase === 'creating' || phase === 'removing') {
    using _ = await deps.locks.hold(id);
    return teardownContainer(deps, container);
  }
  if (phase === 'created' && process) {
    // The crash came between the start of the process and its record.
    using _ = await deps.locks.hold(id); // an end that is told meanwhile waits for the record
    await recordStart(deps, container, process);
    // Of one that was not on record as running nobody took the word that it ended: its file has it.
    if (!process.exit) ended = await writtenExit(deps, container);
  } else if (phase === 'created') {
    deps.containerCreations.unheard(id);
    return;
  } else if (phase === 'exited') {
    using _ = await deps.locks.hold(id);
    return releaseContainer(deps, container);
  }
  if (!process) ended = await exitOnFile(deps, container, 'its shim is gone, nobody saw it end');
  if (ended) await applyExit(deps, id, ended);
}

/** Containers whose pod has no record, and the cgroup of its pause process. */
async function removeOrphans(deps: Deps): Promise<void> {
  const orphans = [...deps.containers.all()].filter(({ podId }) => !deps.pods.get(podId));
  for (const [podId, containers] of Map.groupBy(orphans, ({ podId }) => podId)) {
    await attempt(`containers of pod ${podId}, which has no record`, async () => {
      for (const container of containers) await teardownContainer(deps, container);
      const cgroups = containers.map(({ cgroupsPath }) => cgroupsPath);
      await removeLostPod(deps, podId, cgroups);
    });
  }
}

/** Pod directories that no record names: end their shims and mounts, then remove them. */
async function sweepRunDirectory(deps: Deps): Promise<void> {
  for (const name of namesIn(deps.layout.pods)) {
    const id = name as PodId;
    if (deps.pods.get(id)) continue;
    await attempt(`left-over directory of pod ${id}`, () => removeLostPod(deps, id, []));
  }
}

/** What OCI runtimes keep of containers that no record names: its processes ended with their pod. */
async function sweepOciState(deps: Pick<Deps, 'containers' | 'layout'>): Promise<void> {
  for (const handler of namesIn(deps.layout.ociState)) {
    const folder = deps.layout.ociStateOf(handler);
    for (const name of namesIn(folder)) {
      if (isId(name) && !deps.containers.get(name as ContainerId))
        await rm(join(folder, name), { recursive: true, force: true });
    }
  }
}

/** Of a directory of Berth's own, which no container reaches. */
function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return [];
    throw error;
  }
}

async function sweepSnapshots(deps: Pick<Deps, 'containers' | 'images' | 'snapshots'>): Promise<void> {
  for (const { key, kind } of deps.snapshots.list()) {
    if (kind === 'active' && !deps.containers.find(key)) await deps.snapshots.remove(key);
  }
  await deps.images.gc();
}
