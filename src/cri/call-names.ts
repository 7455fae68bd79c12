import type { Container } from '../model/container.ts';
import type { Pod } from '../model/pod.ts';
import type { Names } from '../tracing/index.ts';

type Found<T> = { find(id: string): T | undefined };
/** Where the names of what a request names are found. */
export type Objects = { readonly pods: Found<Pod>; readonly containers: Found<Container> };
/** As it came from a client: nothing of it is checked. */
type Message = Readonly<Record<string, unknown>>;
type Naming = (message: Message, objects: Objects) => Names;

/** As much of a client's word as a line of the log takes. */
const longest = 300;
const text = (value: unknown): string => (typeof value === 'string' ? value.slice(0, longest) : '');
const part = (value: unknown): Message => (typeof value === 'object' && value !== null ? (value as Message) : {});

const ofMetadata = (metadata: Message): Names => ({
  namespace: text(metadata.namespace),
  name: text(metadata.name),
  uid: text(metadata.uid),
});

function ofPod(given: unknown, { pods }: Objects): Names {
  const id = text(given);
  const pod = pods.find(id);
  return pod ? { pod: pod.id, ...ofMetadata(pod.config.metadata) } : { pod: id };
}

const byPod: Naming = ({ podSandboxId }, objects) => ofPod(podSandboxId, objects);
const byContainer: Naming = ({ containerId }, objects) => {
  const container = objects.containers.find(text(containerId));
  if (!container) return { container: text(containerId) };
  const { id, podId, config } = container;
  return { ...ofPod(podId, objects), container: id, containerName: config.metadata.name };
};
/** A pull says for which pod it is, though the image is the node's. */
const byImage: Naming = ({ image, sandboxConfig }) => {
  const { metadata } = part(sandboxConfig);
  return { ...(metadata ? ofMetadata(part(metadata)) : {}), image: text(part(image).image) };
};

/** The calls that change something, and how their requests say of what. */
const changing: Readonly<Record<string, Naming>> = {
  RunPodSandbox: ({ config }) => ofMetadata(part(part(config).metadata)),
  StopPodSandbox: byPod,
  RemovePodSandbox: byPod,
  UpdatePodSandboxResources: byPod,
  CreateContainer: (request, objects) => ({
    ...byPod(request, objects),
    containerName: text(part(part(request.config).metadata).name),
  }),
  StartContainer: byContainer,
  StopContainer: byContainer,
  RemoveContainer: byContainer,
  UpdateContainerResources: byContainer,
  ReopenContainerLog: byContainer,
  ExecSync: byContainer,
  Exec: byContainer,
  Attach: byContainer,
  PortForward: byPod,
  PullImage: byImage,
  RemoveImage: byImage,
};

/** A probe comes every few seconds, for ever. */
export const isProbe = (method: string): boolean => method === 'ExecSync';

export const changes = (method: string): boolean => Object.hasOwn(changing, method);

/** Reads name what they ask for by an id, if at all. */
const byId: Naming = (message, objects) =>
  'containerId' in message ? byContainer(message, objects) : 'podSandboxId' in message ? byPod(message, objects) : {};

/** What a call is about, as far as its request and the records say; of one that changes something: before its work. */
export const namesOf = (method: string, request: unknown, objects: Objects): Names =>
  (changes(method) ? changing[method]! : byId)(part(request), objects);

/** What the answer adds: the id of what was made. */
export function madeBy(answer: unknown): Names {
  const { podSandboxId, containerId, imageRef } = part(answer);
  const ids = { pod: text(podSandboxId), container: text(containerId), imageId: text(imageRef) };
  return Object.fromEntries(Object.entries(ids).filter(([, id]) => id !== ''));
}
