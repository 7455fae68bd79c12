import type { Metadata, Server } from '@grpc/grpc-js';
import {
  type Any,
  type Container as ContainerdContainer,
  ContainersService,
  type GetContainerRequest,
  type GetContainerResponse,
  type Timestamp,
} from '../api/containerd/services/containers/v1/containers.ts';
import { type GetRequest, type GetResponse, Status, TasksService } from '../api/containerd/services/tasks/v1/tasks.ts';
import { type VersionResponse, VersionService } from '../api/containerd/services/version/v1/version.ts';
import { Fault, failedPrecondition } from '../base/fault.ts';
import type { Deps } from '../lifecycle/deps.ts';
import type { Container } from '../model/container.ts';
import { type ContainerId, isId, type PodId } from '../model/ids.ts';
import type { Pod } from '../model/pod.ts';
import { type Call, serve } from './calls.ts';
import { id } from './check.ts';
import { int64 } from './numbers.ts';
import { berthVersion } from './runtime-service.ts';
import { podSpec, readSpec } from './verbose.ts';

// What agents on a node ask containerd for, and cAdvisor in kubelet above all: it knows a container by the id in its
// cgroup's name, and its labels and process by these three calls. Nothing can be changed by them.

type Known = Pick<Deps, 'layout' | 'settings' | 'pods' | 'containers'>;

/** The one that kubelet's containers are in. */
const kubernetes = 'k8s.io';
const namespaceHeader = 'containerd-namespace';
const specType = 'types.containerd.io/opencontainers/runtime-spec/1/Spec';

/** Adds the services of containerd that only read. */
export function addContainerdServices(server: Server, deps: Known): void {
  server.addService(VersionService, serve(VersionService, { version }));
  server.addService(ContainersService, serve(ContainersService, { get: containersGet(deps) }));
  server.addService(TasksService, serve(TasksService, { get: tasksGet(deps) }));
}

const version = (): VersionResponse => ({ version: berthVersion, revision: '' });

const containersGet =
  (deps: Known) =>
  async (request: GetContainerRequest, { metadata }: Call): Promise<GetContainerResponse> => {
    const { pod, container } = found(deps, id('id', request.id), metadata);
    return { container: pod ? podAsContainer(deps, pod) : await containerAsContainer(deps, container) };
  };

const tasksGet =
  (deps: Known) =>
  ({ containerId, execId }: GetRequest, { metadata }: Call): GetResponse => {
    const given = id('container_id', containerId);
    const pid = execId === '' ? pidOf(found(deps, given, metadata)) : undefined;
    if (pid === undefined) throw notFound('task', given);
    return { process: { containerId: given, id: given, pid, status: Status.RUNNING } };
  };

type Found =
  | { readonly pod: Pod; readonly container?: never }
  | { readonly pod?: never; readonly container: Container };

/**
 * One that is being made is found too: its cgroup is seen before the call that makes it ends, and is not looked at again soon.
 * @throws Fault NotFound, also for whatever other namespace.
 */
function found({ pods, containers }: Known, given: string, metadata: Metadata): Found {
  const [namespace] = metadata.get(namespaceHeader);
  if (!namespace) throw failedPrecondition(`No namespace: containers are in ${kubernetes}, by ${namespaceHeader}`);
  if (namespace !== kubernetes || !isId(given)) throw notFound('container', given, String(namespace));
  const pod = pods.get(given as PodId);
  if (pod) return { pod };
  const container = containers.get(given as ContainerId);
  if (container) return { container };
  throw notFound('container', given);
}

/** In the form that containerd's clients take apart. */
const notFound = (what: string, given: string, namespace = kubernetes) =>
  new Fault('NotFound', `${what} ${JSON.stringify(given)} in namespace ${JSON.stringify(namespace)}: not found`);

function pidOf({ pod, container }: Found): number | undefined {
  if (pod) return pod.state.phase === 'ready' ? pod.state.pausePid : undefined;
  return container.state.phase === 'running' ? container.state.pid : undefined;
}

function podAsContainer(deps: Known, pod: Pod): ContainerdContainer {
  const labels = { ...pod.config.labels, 'io.cri-containerd.kind': 'sandbox' };
  return asContainer(pod, { labels, image: '', spec: specOf(podSpec(deps, pod)) });
}

async function containerAsContainer({ layout }: Known, container: Container): Promise<ContainerdContainer> {
  const { config, imageName, imageRef, podId } = container;
  return asContainer(container, {
    labels: { ...config.labels, 'io.cri-containerd.kind': 'container' },
    image: imageName ?? imageRef,
    spec: specOf(await readSpec(layout.configFile(podId, container.id))),
  });
}

type Rest = Pick<ContainerdContainer, 'labels' | 'image' | 'spec'>;

function asContainer({ id, createdAt, resolvedHandler }: Pod | Container, rest: Rest): ContainerdContainer {
  const at = timestamp(createdAt);
  const runtime = { name: resolvedHandler.name };
  return { id, runtime, snapshotter: 'overlayfs', snapshotKey: id, createdAt: at, updatedAt: at, ...rest };
}

/** Never absent, nor without a process: cAdvisor looks at both without asking whether they are there. */
const specOf = (spec: object | null): Any => ({
  typeUrl: specType,
  value: Buffer.from(JSON.stringify({ process: { env: [] }, ...spec })),
});

const timestamp = (ms: number): Timestamp => ({
  seconds: int64(Math.floor(ms / 1000)),
  nanos: Math.floor(ms % 1000) * 1_000_000,
});
