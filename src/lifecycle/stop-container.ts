import { longestMs } from '../base/deadline.ts';
import { Fault, isFault } from '../base/fault.ts';
import { step, traced } from '../base/trace.ts';
import type { Container } from '../model/container.ts';
import { thawCgroup } from '../sys/cgroups.ts';
import type { Deps } from './deps.ts';
import { applyExit, endsWithin, exitOnFile, onShimLost } from './exits.ts';
import { holdContainer } from './hold.ts';

/** As much of the daemon as is needed here; tests make it of small parts. */
type Needs = Pick<Deps, 'containers' | 'layout' | 'locks' | 'ociRuntimes' | 'pods' | 'settings' | 'shims' | 'stopping'>;

const SIGKILL = 9;

/**
 * Stops a container: its stop signal, and SIGKILL to all of it when `timeoutMs` is over. Unknown ids and containers
 * that do not run count as stopped. Each caller waits for its own time: the shortest kills. One that leaves early
 * kills nothing.
 */
export async function stopContainer(deps: Needs, id: string, timeoutMs: number, signal?: AbortSignal): Promise<void> {
  const container = await onceStarted(deps, id);
  if (container?.state.phase !== 'running') return;
  traced(container.podId, container.id);
  if (timeoutMs > 0 && (await endsGracefully(deps, container, Math.min(timeoutMs, longestMs), signal))) return;
  await killContainer(deps, container, signal);
}

/** A start in flight would make it run after it was said to be stopped. */
async function onceStarted(
  deps: Pick<Deps, 'containers' | 'locks' | 'pods'>,
  id: string,
): Promise<Container | undefined> {
  const found = deps.containers.find(id);
  if (found?.state.phase !== 'created') return found;
  using held = await holdContainer(deps, found.id);
  return held?.value;
}

async function endsGracefully(deps: Needs, container: Container, ms: number, signal?: AbortSignal): Promise<boolean> {
  const { id, stopSignal } = container;
  if (deps.stopping.has(id)) return endsWithin(deps, container, ms, signal);
  deps.stopping.add(id);
  try {
    if (!(await signalled(deps, container, stopSignal))) return true;
    return await step('wait: its end', () => endsWithin(deps, container, ms, signal));
  } finally {
    deps.stopping.delete(id);
  }
}

/**
 * False: it has ended, as its shim is gone. A shim that does not answer (it hangs in the container's log) is killed, and what
 * it kept with it: else its pod could never be stopped.
 */
async function signalled(
  deps: Needs,
  container: Container,
  signo: number,
  options?: { all: boolean },
): Promise<boolean> {
  const { id, podId } = container;
  const shim = await deps.shims.findOrKill(podId);
  try {
    if (shim) {
      await shim.signal(id, signo, options);
      return true;
    }
  } catch (error) {
    if (isFault(error, 'NotFound')) {
      // The shim that kept it is dead, and its pod's teardown has begun in a new one.
      await applyExit(deps, id, await exitOnFile(deps, container, 'its shim is gone, it was killed'));
      return false;
    }
    if (!isFault(error, 'DeadlineExceeded')) throw error;
    await deps.shims.kill(podId, error);
  }
  await onShimLost(deps, podId);
  return false;
}

/** SIGKILL, also to processes that left the container's first one. @throws Fault DeadlineExceeded if it lives on. */
async function killContainer(deps: Needs, container: Container, signal?: AbortSignal): Promise<void> {
  const { id } = container;
  await thawCgroup(container.cgroupsPath);
  if (!(await signalled(deps, container, SIGKILL, { all: true }))) return;
  const deadlineMs = deps.settings.timeouts.ociRuntime * 1000;
  if (await step('wait: its end', () => endsWithin(deps, container, deadlineMs, signal))) return;
  throw new Fault(
    'DeadlineExceeded',
    `Container ${id} lives ${deadlineMs / 1000} s after SIGKILL: a process of it is stuck in the kernel`,
  );
}
