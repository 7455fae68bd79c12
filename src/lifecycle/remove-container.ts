import type { Deps } from './deps.ts';
import { holdContainer } from './hold.ts';
import { stopContainer } from './stop-container.ts';
import { teardownContainer } from './teardown.ts';

/** Kills the container if it runs and removes all of it but its log. An unknown id counts as removed. */
export async function removeContainer(deps: Deps, id: string): Promise<void> {
  await stopContainer(deps, id, 0);
  using held = await holdContainer(deps, id);
  if (held) await teardownContainer(deps, held.value);
}
