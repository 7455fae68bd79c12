import { failedPrecondition, notFound } from '../base/fault.ts';
import { openingLog } from './container/log-path.ts';
import type { Deps } from './deps.ts';

/** Opens the container's log path anew, after kubelet renamed the file. @throws Fault unless it is running. */
export async function reopenLog(deps: Deps, id: string): Promise<void> {
  const container = deps.containers.find(id);
  if (!container) throw notFound('container', id);
  if (container.state.phase !== 'running') {
    throw failedPrecondition(
      `Container ${container.id} is ${container.state.phase}: only a running one has an open log`,
    );
  }
  const pod = deps.pods.get(container.podId);
  if (!pod) throw notFound('pod', container.podId);
  const shim = await deps.shims.ensure(container.podId);
  const deadlineMs = deps.settings.timeouts.hostPath * 1000;
  await openingLog(deps, pod, container, shim.reopenLog(container.id, deadlineMs));
}
