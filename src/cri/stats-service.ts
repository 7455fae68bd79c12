import type * as cri from '../api/runtime/v1/cri.ts';
import { ContainerStats, PodSandboxStats } from '../api/runtime/v1/cri.ts';
import { failedPrecondition, notFound } from '../base/fault.ts';
import { eachSoundSoon } from '../base/sound.ts';
import type { Deps } from '../lifecycle/deps.ts';
import type { Container } from '../model/container.ts';
import type { Pod } from '../model/pod.ts';
import type { Stats } from '../stats/index.ts';
import type { Handlers, Streams } from './calls.ts';
import { id, line } from './check.ts';
import { encodeContainerStats, encodePodStats } from './encode-stats.ts';
import { batches, item, listBytes } from './list-bytes.ts';
import { hasLabels, matching } from './reads.ts';

export type StatsDeps = Deps & { readonly stats: Stats; readonly imageMountpoint: string };

/** Every stats call of RuntimeService. */
export function statsHandlers(deps: StatsDeps) {
  return {
    containerStats: async (request: cri.ContainerStatsRequest): Promise<cri.ContainerStatsResponse> => {
      const container = deps.containers.find(id('container_id', request.containerId));
      if (!container) throw notFound('container', request.containerId);
      if (container.state.phase !== 'running')
        throw failedPrecondition(`Container ${container.id} is not running: it uses nothing that could be told`);
      return { stats: encodeContainerStats(await deps.stats.ofContainer(container), deps.imageMountpoint) };
    },
    listContainerStats: async (request: cri.ListContainerStatsRequest) =>
      listBytes(await containerStatsItems(deps, request.filter)),
    podSandboxStats: async (request: cri.PodSandboxStatsRequest): Promise<cri.PodSandboxStatsResponse> => {
      const pod = deps.pods.find(id('pod_sandbox_id', request.podSandboxId));
      if (!pod) throw notFound('pod', request.podSandboxId);
      return { stats: encodePodStats(await deps.stats.ofPod(pod), deps.imageMountpoint) };
    },
    listPodSandboxStats: async (request: cri.ListPodSandboxStatsRequest) =>
      listBytes(await podStatsItems(deps, request.filter)),
  } satisfies Handlers;
}

/** The same lists in pieces. */
export function statsStreams(deps: StatsDeps) {
  return {
    streamContainerStats: async function* (request: cri.StreamContainerStatsRequest) {
      yield* batches(await containerStatsItems(deps, request.filter));
    },
    streamPodSandboxStats: async function* (request: cri.StreamPodSandboxStatsRequest) {
      yield* batches(await podStatsItems(deps, request.filter));
    },
  } satisfies Streams;
}

/** Running containers: an ended one uses nothing. */
async function containerStatsItems(deps: StatsDeps, filter: cri.ContainerStatsFilter | undefined): Promise<Buffer[]> {
  const wantedId = line('filter.id', filter?.id ?? '');
  const wantedPod = line('filter.pod_sandbox_id', filter?.podSandboxId ?? '');
  const matches = ({ id: own, podId, state, config }: Container) =>
    state.phase === 'running' &&
    own.startsWith(wantedId) &&
    podId.startsWith(wantedPod) &&
    hasLabels(config.labels, filter?.labelSelector ?? {});
  return eachSoundSoon(matching(deps.containers.all(), matches), async (container) =>
    item(ContainerStats, encodeContainerStats(await deps.stats.ofContainer(container), deps.imageMountpoint)),
  );
}

async function podStatsItems(deps: StatsDeps, filter: cri.PodSandboxStatsFilter | undefined): Promise<Buffer[]> {
  const wantedId = line('filter.id', filter?.id ?? '');
  const matches = ({ id: own, state, config }: Pod) =>
    state.phase === 'ready' && own.startsWith(wantedId) && hasLabels(config.labels, filter?.labelSelector ?? {});
  return eachSoundSoon(matching(deps.pods.all(), matches), async (pod) =>
    item(PodSandboxStats, encodePodStats(await deps.stats.ofPod(pod), deps.imageMountpoint)),
  );
}
