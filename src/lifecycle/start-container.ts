import { join } from 'node:path';
import { failedPrecondition, messageOf } from '../base/fault.ts';
import { log } from '../base/log.ts';
import { type Container, containerAfter } from '../model/container.ts';
import type { Pod } from '../model/pod.ts';
import { oomCountFile } from '../sys/cgroups.ts';
import { logOf, openingLog } from './container/log-path.ts';
import { crashPoint } from './crash-point.ts';
import type { Deps } from './deps.ts';
import { holdContainer, mustExist } from './hold.ts';
import { ociDeadlineMs, ociFault, ociRuntimeEnv } from './runtime/oci-command.ts';
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

/**
 * Makes the container's process. One OCI runtime process does it all: until now the container was only prepared, so
 * whatever the runtime objects to (a command that does not exist) is said here.
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
    const message = error instanceof Error ? error.message : String(error);
    const exit = { code: startErrorCode, reason: 'StartError', message, at: Date.now() } as const;
    await deps.containers.settle(containerAfter(container, { type: 'ended', exit }));
    await releaseContainer(deps, container).catch((failure: unknown) => {
      // StopPodSandbox and RemoveContainer try again: a process of it may be stuck in the kernel.
      log.error(
        { container: container.id, reason: messageOf(failure) },
        'A container that failed could not be released',
      );
    });
    throw error;
  }
}

async function spawn(
  deps: Pick<Deps, 'layout' | 'ociRuntimes' | 'settings' | 'shims'>,
  pod: Pod,
  container: Container,
): Promise<number> {
  const { id, podId, config } = container;
  const bundle = deps.layout.bundle(podId, id);
  const logFile = join(bundle, 'runtime.log');
  const runtime = await deps.ociRuntimes.of(container);
  const shim = await deps.shims.ensure(podId);
  const started = shim.start({
    key: id,
    argv: runtime.run(id, bundle, join(bundle, 'pid'), logFile, config.tty),
    env: ociRuntimeEnv,
    cwd: bundle,
    deadlineMs: ociDeadlineMs(deps),
    pidFile: join(bundle, 'pid'),
    stdin: config.stdin,
    tty: config.tty,
    ...(await logOf(deps, shim, pod, container)),
    oomFile: oomCountFile(container.cgroupsPath),
    exitFile: deps.layout.exitFile(podId, id),
  });
  const result = await openingLog(deps, pod, container, started);
  if (result.code === 0 && result.pid > 0) return result.pid;
  throw await ociFault({ doing: `Cannot start container ${id}`, runtime, logFile }, result);
}
