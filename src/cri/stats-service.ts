import type * as cri from '../api/runtime/v1/cri.ts';
import { notFound } from '../base/fault.ts';
import type { Deps } from '../lifecycle/deps.ts';
import type { Container } from '../model/container.ts';
import type { Pod } from '../model/pod.ts';
import type { Stats } from '../stats/index.ts';
import type { Handlers, Streams } from './calls.ts';
import { id, line } from './check.ts';
import { encodeContainerStats, encodePodStats } from './encode-stats.ts';
import { hasLabels } from './reads.ts';
import { batches } from './stream-lists.ts';

export type StatsDeps = Deps & { readonly stats: Stats; readonly imageMountpoint: string };

/** Every stats call of RuntimeService. */
export function statsHandlers(deps: StatsDeps) {
  return {
    containerStats: async (request: cri.ContainerStatsRequest): Promise<cri.ContainerStatsResponse> => {
      const container = deps.containers.find(id('container_id', request.containerId));
      if (!container) throw notFound('container', request.containerId);
      return { stats: encodeContainerStats(await deps.stats.ofContainer(container), deps.imageMountpoint) };
    },
    listContainerStats: async (request: cri.ListContainerStatsRequest): Promise<cri.ListContainerStatsResponse> => ({
      stats: await listContainerStats(deps, request.filter),
    }),
    podSandboxStats: async (request: cri.PodSandboxStatsRequest): Promise<cri.PodSandboxStatsResponse> => {
      const pod = deps.pods.find(id('pod_sandbox_id', request.podSandboxId));
      if (!pod) throw notFound('pod', request.podSandboxId);
      return { stats: encodePodStats(await deps.stats.ofPod(pod), deps.imageMountpoint) };
    },
    listPodSandboxStats: async (request: cri.ListPodSandboxStatsRequest): Promise<cri.ListPodSandboxStatsResponse> => ({
      stats: await listPodStats(deps, request.filter),
    }),
  } satisfies Handlers;
}

/** The same lists in pieces. */
export function statsStreams(deps: StatsDeps) {
  return {
    streamContainerStats: async function* (request: cri.StreamContainerStatsRequest) {
      for (const containerStats of batches(await listContainerStats(deps, request.filter))) yield { containerStats };
    },
    streamPodSandboxStats: async function* (request: cri.StreamPodSandboxStatsRequest) {
      for (const podSandboxStats of batches(await listPodStats(deps, request.filter))) yield { podSandboxStats };
    },
  } satisfies Streams;
}

/** Running containers: an ended one uses nothing. */
function listContainerStats(
  deps: StatsDeps,
  filter: cri.ContainerStatsFilter | undefined,
): Promise<cri.ContainerStats[]> {
  const wantedId = line('filter.id', filter?.id ?? '');
  const wantedPod = line('filter.pod_sandbox_id', filter?.podSandboxId ?? '');
  const matches = ({ id: own, podId, state, config }: Container) =>
    state.phase === 'running' &&
    own.startsWith(wantedId) &&
    podId.startsWith(wantedPod) &&
    hasLabels(config.labels, filter?.labelSelector ?? {});
  const found = [...deps.containers.all()].filter(matches);
  return Promise.all(
    found.map(async (container) => encodeContainerStats(await deps.stats.ofContainer(container), deps.imageMountpoint)),
  );
}

function listPodStats(deps: StatsDeps, filter: cri.PodSandboxStatsFilter | undefined): Promise<cri.PodSandboxStats[]> {
  const wantedId = line('filter.id', filter?.id ?? '');
  const matches = ({ id: own, state, config }: Pod) =>
    state.phase === 'ready' && own.startsWith(wantedId) && hasLabels(config.labels, filter?.labelSelector ?? {});
  const found = [...deps.pods.all()].filter(matches);
  return Promise.all(found.map(async (pod) => encodePodStats(await deps.stats.ofPod(pod), deps.imageMountpoint)));
}
