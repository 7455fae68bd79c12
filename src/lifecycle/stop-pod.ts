import { runAll, type Step } from '../base/run-all.ts';
import type { Pod } from '../model/pod.ts';
import { containersOf, type Deps } from './deps.ts';
import { onShimLost, podNotReady } from './exits.ts';
import { holdPod } from './hold.ts';
import { stopContainer } from './stop-container.ts';
import { releasedPod, releasePod, teardownPod } from './teardown.ts';

/** As the peers: what StopPodSandbox gives containers that kubelet did not stop itself. */
const graceMs = 0;

/** Stops every container, takes the network down and ends the pause process. Idempotent; unknown ids succeed. */
export async function stopPod(deps: Deps, id: string): Promise<void> {
  using held = await holdPod(deps, id);
  if (held) await stop(deps, held.value);
}

async function stop(deps: Deps, pod: Pod): Promise<void> {
  if (pod.state.phase === 'notReady' && pod.state.released) return;
  // Starts in flight are waited for (stopContainer); no other may begin among what is being taken away.
  deps.stoppingPods.add(pod.id);
  try {
    if (await deps.shims.killSilent(pod.id)) await onShimLost(deps, pod.id);
    await stopContainers(deps, pod);
    await podNotReady(deps, pod.id, 'it is being stopped'); // before anything of it goes: a crash must not find it ready
    await releasePod(deps, pod);
    await deps.pods.settle(releasedPod(pod));
  } finally {
    deps.stoppingPods.delete(pod.id);
  }
}

async function stopContainers(deps: Deps, pod: Pod): Promise<void> {
  const stops = containersOf(deps, pod.id).map(async (container) => stopContainer(deps, container.id, graceMs));
  await Promise.allSettled(stops);
  await runAll(
    `stop the containers of pod ${pod.id}`,
    stops.map((result, index): Step => [`container ${index + 1}`, () => result]),
  );
}

/** Stops the pod and removes it with its containers. Unknown ids succeed. */
export async function removePod(deps: Deps, id: string): Promise<void> {
  using held = await holdPod(deps, id);
  if (!held) return;
  await stop(deps, held.value);
  await teardownPod(deps, held.value.id);
}
