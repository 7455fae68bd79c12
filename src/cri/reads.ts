import type * as cri from '../api/runtime/v1/cri.ts';
import { ContainerStatus, Container as CriContainer, PodSandbox } from '../api/runtime/v1/cri.ts';
import { notFound } from '../base/fault.ts';
import { eachSound, itself } from '../base/sound.ts';
import { containersOf, type Deps } from '../lifecycle/deps.ts';
import type { Container } from '../model/container.ts';
import type { Pod } from '../model/pod.ts';
import { readCgroupLimits } from '../stats/cgroup-limits.ts';
import { choice, id, line } from './check.ts';
import { containerState, encodeContainer, encodeContainerStatus, encodePod, encodePodStatus } from './encode.ts';
import { recordItems } from './list-bytes.ts';
import { int64 } from './numbers.ts';
import { containerInfo, podInfo } from './verbose.ts';

const podStates = { 0: 'ready', 1: 'notReady' } as const;
const knownContainerStates = { 0: 0, 1: 1, 2: 2, 3: 3 } as const;

/** True if every wanted label has its value. */
export const hasLabels = (
  labels: Readonly<Record<string, string>>,
  wanted: Readonly<Record<string, string>>,
): boolean => Object.entries(wanted).every(([key, value]) => labels[key] === value);

/** Being made: no client knows its id yet. */
const isListed = ({ state }: { readonly state: { readonly phase: string } }): boolean => state.phase !== 'creating';

/** The records that match; one that cannot be looked at does not. */
export const matching = <T extends { readonly id: string }>(
  records: Iterable<T>,
  matches: (record: T) => boolean,
): T[] => eachSound(records, itself, (record) => (matches(record) ? [record] : [])).flat();

/** Pods that match every part of the filter, on the wire; ids by prefix. */
export function podItems(deps: Deps, filter: cri.PodSandboxFilter | undefined): Buffer[] {
  const wantedId = line('filter.id', filter?.id ?? '');
  const wantedState = filter?.state ? choice('filter.state', podStates, filter.state.state) : null;
  const matches = (pod: Pod) =>
    isListed(pod) &&
    pod.id.startsWith(wantedId) &&
    (wantedState === null || (pod.state.phase === 'ready') === (wantedState === 'ready')) &&
    hasLabels(pod.config.labels, filter?.labelSelector ?? {});
  return recordItems(matching(deps.pods.all(), matches), PodSandbox, encodePod);
}

/** Containers that match every part of the filter, on the wire; ids by prefix. */
export function containerItems(deps: Deps, filter: cri.ContainerFilter | undefined): Buffer[] {
  const wantedId = line('filter.id', filter?.id ?? '');
  const wantedPod = line('filter.pod_sandbox_id', filter?.podSandboxId ?? '');
  const wantedState = filter?.state ? choice('filter.state', knownContainerStates, filter.state.state) : null;
  const matches = (container: Container) =>
    isListed(container) &&
    container.id.startsWith(wantedId) &&
    container.podId.startsWith(wantedPod) &&
    (wantedState === null || containerState(container) === wantedState) &&
    hasLabels(container.config.labels, filter?.labelSelector ?? {});
  return recordItems(matching(knownContainers(deps), matches), CriContainer, encodeContainer);
}

/** Whether one that ran still does is not known while its pod is being mended; a status waits for that, a list does not. */
function knownContainers({ containers, mending }: Deps): Iterable<Container> {
  if (mending.size === 0) return containers.all();
  return [...containers.all()].map((container) =>
    container.state.phase === 'running' && mending.has(container.podId)
      ? { ...container, state: { phase: 'unknown' } as never }
      : container,
  );
}

/** The swap limit is the kernel's: a request that names none is given one, and a host without swap accounting has none. */
function statusOf(container: Container): cri.ContainerStatus {
  const status = encodeContainerStatus(container);
  const { linux } = status.resources!;
  const { state, cgroupsPath } = container;
  if (state.phase !== 'running' || !cgroupsPath || !linux) return status;
  linux.memorySwapLimitInBytes = int64(readCgroupLimits(cgroupsPath).memoryAndSwap);
  return status;
}

/** The status of each container that a client may know. One that cannot be encoded takes no other with it. */
export const containerStatuses = (containers: readonly Container[]): cri.ContainerStatus[] =>
  eachSound(containers.filter(isListed), itself, (container) => {
    const status = statusOf(container);
    ContainerStatus.encode(status); // throws here, not where the whole answer is encoded
    return status;
  });

/** A pod with the status of each of its containers. @throws Fault NotFound */
export async function podStatus(
  deps: Deps,
  request: cri.PodSandboxStatusRequest,
): Promise<cri.PodSandboxStatusResponse> {
  const pod = deps.pods.find(id('pod_sandbox_id', request.podSandboxId));
  if (!pod || !isListed(pod)) throw notFound('pod', request.podSandboxId);
  return {
    status: encodePodStatus(pod),
    info: request.verbose ? { info: JSON.stringify(podInfo(deps, pod)) } : {},
    containersStatuses: containerStatuses(containersOf(deps, pod.id)),
    // 0, as with containerd. Given a time, kubelet with EventedPLEG (1.37) goes by the statuses of this answer alone and
    // starts every init container twice; given none, it asks for each container's status. Events work either way.
    timestamp: 0n,
  };
}

/** @throws Fault NotFound */
export async function containerStatus(
  deps: Deps,
  request: cri.ContainerStatusRequest,
): Promise<cri.ContainerStatusResponse> {
  const container = deps.containers.find(id('container_id', request.containerId));
  if (!container || !isListed(container)) throw notFound('container', request.containerId);
  const info: Record<string, string> = request.verbose
    ? { info: JSON.stringify(await containerInfo(deps, container)) }
    : {};
  return { status: statusOf(container), info };
}
