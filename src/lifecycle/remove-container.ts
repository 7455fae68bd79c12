import { traced } from '../base/trace.ts';
import type { Deps } from './deps.ts';
import { stopContainer } from './stop-container.ts';
import { teardownContainer } from './teardown.ts';

/** Kills the container if it runs and removes all of it but its log. An unknown id counts as removed. */
export async function removeContainer(deps: Deps, id: string): Promise<void> {
  const found = deps.containers.find(id);
  if (!found) return;
  traced(found.podId, found.id);
  await stopContainer(deps, found.id, 0);
  using _ = await deps.locks.hold(found.id);
  const container = deps.containers.get(found.id);
  if (container) await teardownContainer(deps, container);
}
