import { readFileSync } from 'node:fs';
import { isErrno, messageOf } from '../base/fault.ts';
import { log } from '../base/log.ts';
import type { Container, Exit } from '../model/container.ts';
import type { ContainerId } from '../model/ids.ts';
import { oomCountFile } from '../sys/cgroups.ts';
import { unreapedEnd } from '../sys/ended.ts';
import type { Deps } from './deps.ts';
import { applyExit, onShimLost } from './exits.ts';

type Needs = Pick<Deps, 'containers' | 'layout' | 'locks' | 'ociRuntimes' | 'pods' | 'settings' | 'shims'>;

/** Twice within the second in which an end is to be known. */
const everyMs = 400;

/**
 * Looks after containers whose shim is stopped, or hangs: it tells no end, and they would be running for ever. Who has ended,
 * and has been left so from one look to the next, has ended; a shim that does not answer then is killed.
 */
export function watchUnseenEnds(deps: Needs): void {
  let before: ReadonlySet<ContainerId> = new Set();
  setInterval(() => {
    const ended = new Map<ContainerId, number>();
    for (const container of deps.containers.all()) {
      const code = container.state.phase === 'running' ? unreapedEnd(container.state.pid) : null;
      if (code === null) continue;
      ended.set(container.id, code);
      if (before.has(container.id)) void tell(deps, container, code);
    }
    before = new Set(ended.keys());
  }, everyMs).unref();
}

async function tell(deps: Needs, container: Container, code: number): Promise<void> {
  const { id, podId } = container;
  try {
    log.warn({ container: id, pod: podId }, 'A container has ended, and its shim does not say so');
    const message = 'its shim did not see it end';
    const told = applyExit(deps, id, { code, reason: reasonOf(container, code), message, at: Date.now() });
    told.catch(() => {}); // it waits for the shim too
    if (await deps.shims.killSilent(podId)) await onShimLost(deps, podId);
    await told;
  } catch (error) {
    log.error({ container: id, reason: messageOf(error) }, 'What ended without its shim could not be released');
  }
}

/** The shim would know whether it was this kill that the cgroup counted. */
function reasonOf({ cgroupsPath }: Container, code: number): Exit['reason'] {
  if (code === 0) return 'Completed';
  return code === 137 && ranOutOfMemory(oomCountFile(cgroupsPath)) ? 'OOMKilled' : 'Error';
}

function ranOutOfMemory(file: string): boolean {
  try {
    return file !== '' && /^oom_kill [1-9]/m.test(readFileSync(file, 'utf8'));
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENODEV')) return false;
    throw error;
  }
}
