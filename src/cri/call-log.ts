import { log } from '../base/log.ts';
import type { Container } from '../model/container.ts';
import type { Pod } from '../model/pod.ts';
import { outcomeOf } from './call-stats.ts';
import type { StatusError } from './status.ts';

type Found<T> = { find(id: string): T | undefined };
type Objects = { readonly pods: Found<Pod>; readonly containers: Found<Container> };
/** As it came from a client: nothing of it is checked. */
type Message = Readonly<Record<string, unknown>>;
type Names = Readonly<Record<string, string>>;
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
const byImage: Naming = ({ image }) => ({ image: text(part(image).image) });

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
/** A probe comes every few seconds, for ever: with BERTH_LOG=debug only, unless it fails for a reason of Berth's. */
const often = new Set(['ExecSync']);

/** What the answer adds: the id of what was made. */
function madeBy({ podSandboxId, containerId, imageRef }: Message): Names {
  const ids = { pod: text(podSandboxId), container: text(containerId), imageId: text(imageRef) };
  return Object.fromEntries(Object.entries(ids).filter(([, id]) => id !== ''));
}

/** A call under way that will be a line of the log. */
export type LoggedCall = {
  readonly answered: (answer: unknown) => void;
  readonly failed: (error: StatusError) => void;
};

/**
 * One line for each call that changes something: of what, how long it took, how it ended. Names are taken before the work, as
 * it may remove what has them. Null for a call that changes nothing.
 */
export function logged(method: string, request: unknown, objects: Objects): LoggedCall | null {
  const naming = changing[method];
  if (!naming) return null;
  const names = naming(part(request), objects);
  const begin = performance.now();
  const ms = () => Math.round((performance.now() - begin) * 10) / 10;
  const level = often.has(method) ? 'debug' : 'info';
  return {
    answered: (answer) =>
      log[level]({ call: method, ...names, ...madeBy(part(answer)), ms: ms(), outcome: 'OK' }, method),
    failed: ({ code, details }) =>
      log.warn({ call: method, ...names, ms: ms(), outcome: outcomeOf(code), reason: details }, `${method} failed`),
  };
}
