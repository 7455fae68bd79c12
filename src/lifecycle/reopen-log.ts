import { notFound } from '../base/fault.ts';
import { openingLog } from './container/log-path.ts';
import type { Deps } from './deps.ts';
import { runningContainer } from './ready.ts';

/** Opens the container's log path anew, after kubelet renamed the file. @throws Fault unless it is running. */
export async function reopenLog(
  deps: Pick<Deps, 'containers' | 'pods' | 'settings' | 'shims'>,
  id: string,
): Promise<void> {
  const container = runningContainer(deps, id);
  const pod = deps.pods.get(container.podId);
  if (!pod) throw notFound('pod', container.podId);
  const shim = await deps.shims.keeping(container.podId);
  const deadlineMs = deps.settings.timeouts.hostPath * 1000;
  await openingLog(deps, pod, container, shim.reopenLog(container.id, deadlineMs));
}
