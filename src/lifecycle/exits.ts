import { Fault, isFault, messageOf } from '../base/fault.ts';
import { log } from '../base/log.ts';
import { type Container, containerAfter, type Exit } from '../model/container.ts';
import type { ContainerId, PodId } from '../model/ids.ts';
import { podAfter } from '../model/pod.ts';
import { type LogLoss, readExitFile, type ShimExit } from '../shim/index.ts';
import { crashPoint } from './crash-point.ts';
import { containersOf, type Deps } from './deps.ts';
import { holdContainer } from './hold.ts';
import { releaseContainer } from './teardown.ts';

/** As much of the daemon as is needed here; tests make it of small parts. */
type Needs = Pick<Deps, 'containers' | 'layout' | 'locks' | 'ociRuntimes' | 'pods' | 'settings' | 'shims'>;

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
export const onExit = (deps: Needs, exit: ShimExit): Promise<void> =>
  applyExit(deps, exit.key as ContainerId, exitFrom(exit));

/** Its lines went nowhere; a container that is gone has nobody who misses them. */
export function onLogLost(
  { containers, logLosses }: Pick<Deps, 'containers' | 'logLosses'>,
  key: string,
  loss: LogLoss,
) {
  const container = containers.get(key as ContainerId);
  if (container) logLosses.note(container, loss);
}

/** Puts the exit on record and frees what only a process needs. A container that is being made or removed is left. */
export async function applyExit(deps: Needs, id: ContainerId, exit: Exit): Promise<void> {
  using held = await holdContainer(deps, id);
  const container = held?.value;
  if (container?.state.phase !== 'running') return;
  await deps.containers.settle(containerAfter(container, { type: 'ended', exit }));
  logEnd(deps, container, container.state.startedAt, exit);
  crashPoint('exit:recorded');
  await releaseContainer(deps, container);
}

function logEnd({ pods }: Pick<Deps, 'pods'>, { id, podId, config }: Container, startedAt: number, exit: Exit): void {
  const { namespace, name, uid } = pods.get(podId)?.config.metadata ?? {}; // undefined is left out
  const whose = { pod: podId, namespace, name, uid, container: id, containerName: config.metadata.name };
  const { code, reason, message, at } = exit;
  log.info({ ...whose, code, reason, message, ranMs: Math.max(0, Math.round(at - startedAt)) }, 'A container ended');
}

/** The pod lost its pause process or its shim: it is NotReady from now on, its resources wait for StopPodSandbox. */
export async function podDown(deps: Pick<Deps, 'pods'>, podId: PodId, reason: string): Promise<void> {
  if (deps.pods.get(podId)?.state.phase === 'ready') log.warn({ pod: podId, reason }, 'A pod is down');
  await podNotReady(deps, podId, reason);
}

/** From now on the pod is NotReady; what it has is yet to be released. */
export async function podNotReady(deps: Pick<Deps, 'pods'>, podId: PodId, reason: string): Promise<void> {
  const pod = deps.pods.get(podId);
  if (pod?.state.phase === 'ready') await deps.pods.settle(podAfter(pod, { type: 'down', reason }));
}

/** The shim of a pod died while the daemon runs: what the files say, and a kill for what has no keeper. */
export async function onShimLost(deps: Needs, podId: PodId): Promise<void> {
  await podDown(deps, podId, 'its shim is gone');
  for (const container of containersOf(deps, podId)) {
    if (container.state.phase !== 'running') continue;
    const exit = await exitOnFile(deps, container, 'its shim is gone, it was killed');
    await applyExit(deps, container.id, exit).catch((error: unknown) => {
      log.error({ container: container.id, reason: messageOf(error) }, 'What a lost shim kept could not be released');
    });
  }
}

/** What the shim wrote of its end before it went; else that nobody knows, and why. */
export async function exitOnFile(deps: Pick<Deps, 'layout'>, container: Container, otherwise: string): Promise<Exit> {
  try {
    return (await writtenExit(deps, container)) ?? unseenExit(otherwise);
  } catch (error) {
    log.warn({ container: container.id, reason: messageOf(error) }, 'The file of an exit cannot be read');
    return unseenExit(`${otherwise}, and its exit file cannot be read`);
  }
}

/** What the shim wrote of its end, or null. @throws Fault DataLoss if no shim wrote that. */
export async function writtenExit({ layout }: Pick<Deps, 'layout'>, { id, podId }: Container): Promise<Exit | null> {
  const exit = await readExitFile(layout.exitFile(podId, id));
  return exit && exitFrom(exit);
}

/**
 * Waits until the container is no longer running (or is gone).
 * @throws Fault DeadlineExceeded after `ms`, or the signal's reason.
 */
export async function untilExited(
  deps: Pick<Deps, 'containers'>,
  id: ContainerId,
  ms: number,
  signal?: AbortSignal,
): Promise<void> {
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
export async function endsWithin(
  deps: Pick<Deps, 'containers'>,
  { id }: Container,
  ms: number,
  signal?: AbortSignal,
): Promise<boolean> {
  try {
    await untilExited(deps, id, ms, signal);
    return true;
  } catch (error) {
    if (isFault(error, 'DeadlineExceeded') && !signal?.aborted) return false;
    throw error;
  }
}
