import { join } from 'node:path';
import { failedPrecondition, messageOf } from '../base/fault.ts';
import { isObject } from '../base/json.ts';
import { log } from '../base/log.ts';
import { jsonOf } from '../base/parse.ts';
import { type Container, containerAfter } from '../model/container.ts';
import type { Pod } from '../model/pod.ts';
import type { ShimProcess } from '../shim/index.ts';
import { oomCountFile } from '../sys/cgroups.ts';
import { logOf, openingLog } from './container/log-path.ts';
import { crashPoint } from './crash-point.ts';
import type { Deps } from './deps.ts';
import { holdContainer, mustExist } from './hold.ts';
import { ociDeadlineMs, ociFault, ociRuntimeEnv, runOci } from './runtime/oci-command.ts';
import { releaseContainer } from './teardown.ts';

/** As much of the daemon as is needed here; tests make it of small parts. */
type Needs = Pick<
  Deps,
  | 'containerCreations'
  | 'containers'
  | 'layout'
  | 'locks'
  | 'ociRuntimes'
  | 'pods'
  | 'settings'
  | 'shims'
  | 'stoppingPods'
>;

/** Exit code of a container whose process could not be started. */
const startErrorCode = 128;
/** What `start` has in any case, however long the log's opening and `create` took. */
const leastStartMs = 1000;

/**
 * Makes the container's process. One OCI runtime process does it all, or two where it is not known for that (`create`,
 * `start`): until now the container was only prepared, so whatever the runtime objects to (a command that does not exist) is
 * said here.
 * @throws Fault NotFound, FailedPrecondition unless it is created; Internal with the OCI runtime's reason, and the
 * container is then exited with StartError.
 */
export async function startContainer(deps: Needs, id: string): Promise<void> {
  using held = await holdContainer(deps, id);
  const container = mustExist(held, 'container', id);
  const { phase } = container.state;
  if (phase !== 'created')
    throw failedPrecondition(`Container ${container.id} is ${phase}, only a created one can be started`);
  const { podId } = container;
  if (deps.stoppingPods.has(podId))
    throw failedPrecondition(`Pod ${podId} of container ${container.id} is being stopped`);
  const pod = deps.pods.get(podId);
  if (pod?.state.phase !== 'ready') throw failedPrecondition(`Pod ${podId} of container ${container.id} is not ready`);
  deps.containerCreations.claimed(container.id);
  await start(deps, pod, container);
}

async function start(deps: Needs, pod: Pod, container: Container): Promise<void> {
  try {
    const pid = await spawn(deps, pod, container);
    crashPoint('start-container:process');
    await deps.containers.put(containerAfter(container, { type: 'started', pid, at: Date.now() }));
    crashPoint('start-container:recorded');
  } catch (error) {
    await failed(deps, container, error);
    throw error;
  }
}

/** Puts it on record that a container could not be started, and frees what was made of it. */
async function failed(deps: Releasing, container: Container, error: unknown): Promise<void> {
  const exit = { code: startErrorCode, reason: 'StartError', message: messageOf(error), at: Date.now() } as const;
  await deps.containers.settle(containerAfter(container, { type: 'ended', exit }));
  await releaseContainer(deps, container).catch((failure: unknown) => {
    // StopPodSandbox and RemoveContainer try again: a process of it may be stuck in the kernel.
    log.error({ container: container.id, reason: messageOf(failure) }, 'A container that failed could not be released');
  });
}

type Releasing = Pick<Deps, 'containers' | 'layout' | 'ociRuntimes' | 'settings' | 'shims'>;

/**
 * Puts it on record that a container runs whose process a crash of the daemon left without one; where the crash came between the
 * OCI runtime's two commands, the second one is made up for. A start that fails is on record as such.
 */
export async function recordStart(
  deps: Releasing,
  container: Container,
  { pid, exit }: Pick<ShimProcess, 'pid' | 'exit'>,
): Promise<void> {
  try {
    if (exit === null && (await waitsForStart(deps, container))) await begin(deps, container);
    await deps.containers.settle(containerAfter(container, { type: 'started', pid, at: Date.now() }));
  } catch (error) {
    await failed(deps, container, error);
  }
}

async function waitsForStart(deps: Releasing, { id, podId, resolvedHandler }: Container): Promise<boolean> {
  const runtime = await deps.ociRuntimes.of({ resolvedHandler });
  if (!runtime.knows(id) || (await runtime.missing()) !== null) return false;
  try {
    const { code, stdout } = await runOci(deps, await deps.shims.ensure(podId), runtime.state(id));
    const state: unknown = code === 0 ? jsonOf(stdout.toString()) : null;
    return isObject(state) && state.status === 'created';
  } catch (error) {
    log.warn({ container: id, reason: messageOf(error) }, 'The OCI runtime does not say whether a container has begun');
    return false; // nearly all have
  }
}

/**
 * Has the OCI runtime start what it has created, which took `tookMs` of the time that both commands have together.
 * @throws Fault with its reason.
 */
async function begin(deps: Releasing, container: Container, tookMs = 0): Promise<void> {
  const { id, podId } = container;
  const runtime = await deps.ociRuntimes.of(container);
  const logFile = logFileOf(deps, container);
  const deadlineMs = Math.max(ociDeadlineMs(deps) - tookMs, leastStartMs);
  const outcome = await runOci(deps, await deps.shims.ensure(podId), runtime.start(id, logFile), deadlineMs);
  if (outcome.timedOut || outcome.code !== 0)
    throw await ociFault({ doing: `Cannot start container ${id}`, runtime, logFile }, outcome);
}

const logFileOf = ({ layout }: Pick<Deps, 'layout'>, { id, podId }: Container): string =>
  join(layout.bundle(podId, id), 'runtime.log');

async function spawn(deps: Releasing, pod: Pod, container: Container): Promise<number> {
  const { id, podId, config } = container;
  const bundle = deps.layout.bundle(podId, id);
  const logFile = logFileOf(deps, container);
  const runtime = await deps.ociRuntimes.of(container);
  const shim = await deps.shims.ensure(podId);
  const logPlace = await logOf(deps, shim, pod, container);
  const begun = performance.now();
  const started = shim.start({
    key: id,
    argv: runtime.make(id, bundle, join(bundle, 'pid'), logFile, config.tty),
    env: ociRuntimeEnv,
    cwd: bundle,
    deadlineMs: ociDeadlineMs(deps),
    pidFile: join(bundle, 'pid'),
    stdin: config.stdin,
    tty: config.tty,
    ...logPlace,
    oomFile: oomCountFile(container.cgroupsPath),
    exitFile: deps.layout.exitFile(podId, id),
  });
  const result = await openingLog(deps, pod, container, started);
  if (result.code === 0 && result.pid > 0) {
    if (!runtime.createsFirst) return result.pid;
    crashPoint('start-container:process');
    await begin(deps, container, performance.now() - begun);
    return result.pid;
  }
  throw await ociFault({ doing: `Cannot start container ${id}`, runtime, logFile }, result);
}
