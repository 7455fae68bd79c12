import { Fault, isFault } from '../base/fault.ts';
import { log } from '../base/log.ts';
import { type Container, containerAfter, type Exit } from '../model/container.ts';
import type { ContainerId, PodId } from '../model/ids.ts';
import { podAfter } from '../model/pod.ts';
import { readExitFile, type ShimExit } from '../shim/index.ts';
import { crashPoint } from './crash-point.ts';
import { containersOf, type Deps, runPaths } from './deps.ts';
import { releaseContainer } from './teardown.ts';

/** What the shim saw, in the words of a container status. */
export function exitFrom({ code, oomKilled, at }: ShimExit): Exit {
  const reason = code === 0 ? 'Completed' : oomKilled ? 'OOMKilled' : 'Error';
  return { code, reason, message: '', at };
}

/** The exit of a container whose end nobody saw. */
export const unseenExit = (why: string): Exit => ({
  code: 255,
  reason: 'ContainerStatusUnknown',
  message: why,
  at: Date.now(),
});

/** The one upward path: main.ts wires the shims' exit messages here. */
export const onExit = (deps: Deps, exit: ShimExit): Promise<void> =>
  applyExit(deps, exit.key as ContainerId, exitFrom(exit));

/** Puts the exit on record and frees what only a process needs. A container that is being made or removed is left. */
export async function applyExit(deps: Deps, id: ContainerId, exit: Exit): Promise<void> {
  using _ = await deps.locks.hold(id);
  const container = deps.containers.get(id);
  if (container?.state.phase !== 'running') return;
  await deps.containers.settle(containerAfter(container, { type: 'ended', exit }));
  crashPoint('exit:recorded');
  await releaseContainer(deps, container);
}

/** The pod lost its pause process or its shim: it is NotReady from now on, its resources wait for StopPodSandbox. */
export async function podDown(deps: Deps, podId: PodId, reason: string): Promise<void> {
  const pod = deps.pods.get(podId);
  if (pod?.state.phase !== 'ready') return;
  log.warn({ pod: podId, reason }, 'A pod is down');
  await deps.pods.settle(podAfter(pod, { type: 'down', reason }));
}

/** The shim of a pod died while the daemon runs: what the files say, and a kill for what has no keeper. */
export async function onShimLost(deps: Deps, podId: PodId): Promise<void> {
  await podDown(deps, podId, 'its shim is gone');
  for (const container of containersOf(deps, podId)) {
    if (container.state.phase !== 'running') continue;
    const exit = await readExitFile(runPaths(deps).exitFile(podId, container.id));
    await applyExit(deps, container.id, exit ? exitFrom(exit) : unseenExit('its shim is gone, it was killed'));
  }
}

/**
 * Waits until the container is no longer running (or is gone).
 * @throws Fault DeadlineExceeded after `ms`, or the signal's reason.
 */
export async function untilExited(deps: Deps, id: ContainerId, ms: number, signal?: AbortSignal): Promise<void> {
  const running = () => deps.containers.get(id)?.state.phase === 'running';
  if (!running()) return;
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const stop = deps.containers.listen((after, before) => {
    if ((after ?? before)?.id === id && !running()) resolve();
  });
  const timer = setTimeout(() => reject(new Fault('DeadlineExceeded', `Container ${id} did not end in ${ms} ms`)), ms);
  const leave = () => reject(signal?.reason);
  signal?.addEventListener('abort', leave, { once: true });
  if (signal?.aborted) leave();
  try {
    await promise;
  } finally {
    stop();
    clearTimeout(timer);
    signal?.removeEventListener('abort', leave);
  }
}

/** True if it ended in time, false if the time is over. */
export async function endsWithin(deps: Deps, { id }: Container, ms: number, signal?: AbortSignal): Promise<boolean> {
  try {
    await untilExited(deps, id, ms, signal);
    return true;
  } catch (error) {
    if (isFault(error, 'DeadlineExceeded') && !signal?.aborted) return false;
    throw error;
  }
}
