import type * as cri from '../api/runtime/v1/cri.ts';
import { ContainerEventResponse, ContainerEventType } from '../api/runtime/v1/cri.ts';
import { Fault } from '../base/fault.ts';
import { eachSound } from '../base/sound.ts';
import { containersOf, type Deps } from '../lifecycle/deps.ts';
import type { Container, ContainerState } from '../model/container.ts';
import type { PodId } from '../model/ids.ts';
import type { Pod, PodState } from '../model/pod.ts';
import type { Call } from './calls.ts';
import { encodePodStatus } from './encode.ts';
import { nanoseconds } from './numbers.ts';
import { containerStatuses } from './reads.ts';

/** Events kept for a subscriber that reads slower than they come; it is then cut off, and lists anew. */
const maxBehind = 10_000;
/** Events kept for subscribers that come back. Records are immutable: an event costs a few references. */
const journalSize = 2000;
/** kubelet's client ends its stream at a message of 16 MiB, and with it every pod's events. */
const maxEventBytes = 15 * 1024 * 1024;
/** A client that was away asks for what it missed: nanoseconds since the epoch, in the call's metadata. */
export const sinceHeader = 'berth-events-since';

const types = {
  created: ContainerEventType.CONTAINER_CREATED_EVENT,
  started: ContainerEventType.CONTAINER_STARTED_EVENT,
  stopped: ContainerEventType.CONTAINER_STOPPED_EVENT,
  deleted: ContainerEventType.CONTAINER_DELETED_EVENT,
} as const;

type Happened = keyof typeof types;

/** What each phase of a container means to the client that sees it begin. */
const containerMeaning: Record<ContainerState['phase'], readonly Happened[]> = {
  creating: [],
  created: ['created'],
  running: ['started'],
  exited: ['stopped'],
  removing: [],
};

/** A pod is created and started in one step. */
const podMeaning: Record<PodState['phase'], readonly Happened[]> = {
  creating: [],
  ready: ['created', 'started'],
  notReady: ['stopped'],
};

/** What happened, with the records as they were then. */
type Event = {
  readonly id: string;
  readonly happened: Happened;
  readonly at: bigint;
  readonly pod: Pod | undefined;
  readonly containers: readonly Container[];
};

type Subscriber = { readonly queue: Event[]; wake: () => void; lost: boolean };

/** Turns every change of a record into events for whoever subscribed. Records are the only source. */
export class ContainerEvents {
  readonly #deps: Pick<Deps, 'pods' | 'containers'>;
  readonly #subscribers = new Set<Subscriber>();
  readonly #journal: Event[] = [];
  /** Objects whose creation was told: what fails while it is made is never heard of. */
  readonly #announced = new Set<string>();
  #last = 0n;

  constructor(deps: Pick<Deps, 'pods' | 'containers'>) {
    this.#deps = deps;
    for (const { id, state } of [...deps.pods.all(), ...deps.containers.all()]) {
      if (state.phase !== 'creating') this.#announced.add(id);
    }
    deps.containers.listen((after, before) => {
      const { id, podId } = (after ?? before)!;
      if (!after) this.#gone(id, podId);
      else if (after.state.phase !== before?.state.phase) this.#tell(id, podId, containerMeaning[after.state.phase]);
    });
    deps.pods.listen((after, before) => {
      const { id } = (after ?? before)!;
      if (!after) this.#gone(id, id, before);
      else if (after.state.phase !== before?.state.phase) this.#tell(id, id, podMeaning[after.state.phase]);
    });
  }

  /**
   * Every event from now on, in order, until the caller leaves; before them those of the journal after `since`.
   * @throws Fault ResourceExhausted if the caller reads too slowly.
   */
  async *subscribe({ signal }: Call, since?: bigint): AsyncGenerator<Buffer> {
    const missed = since === undefined ? [] : this.#journal.filter(({ at }) => at > since);
    const subscriber: Subscriber = { queue: missed, wake: () => {}, lost: false };
    const wake = () => subscriber.wake();
    signal.addEventListener('abort', wake);
    this.#subscribers.add(subscriber);
    try {
      while (!signal.aborted) {
        if (subscriber.lost) {
          throw new Fault('ResourceExhausted', `More than ${maxBehind} events were not read: subscribe and list again`);
        }
        const event = subscriber.queue.shift();
        if (event) yield* eventBytes(event);
        else await new Promise<void>((resolve) => Object.assign(subscriber, { wake: resolve }));
      }
    } finally {
      this.#subscribers.delete(subscriber);
      signal.removeEventListener('abort', wake);
    }
  }

  #gone(id: string, podId: PodId, last?: Pod): void {
    if (this.#announced.delete(id)) this.#tell(id, podId, ['deleted'], last);
  }

  #tell(id: string, podId: PodId, meanings: readonly Happened[], last?: Pod): void {
    for (const happened of meanings) {
      if (happened !== 'deleted') this.#announced.add(id);
      const pod = this.#deps.pods.get(podId) ?? last;
      this.#add({ id, happened, at: this.#now(), pod, containers: containersOf(this.#deps, podId) });
    }
  }

  /** Strictly increasing, so that `since` splits the journal between any two events. */
  #now(): bigint {
    const now = nanoseconds(Date.now());
    this.#last = now > this.#last ? now : this.#last + 1n;
    return this.#last;
  }

  #add(event: Event): void {
    this.#journal.push(event);
    if (this.#journal.length > journalSize) this.#journal.shift();
    for (const subscriber of this.#subscribers) {
      if (subscriber.queue.length >= maxBehind) subscriber.lost = true;
      else subscriber.queue.push(event);
      subscriber.wake();
    }
  }
}

const encode = ({ id, happened, at, pod, containers }: Event): cri.ContainerEventResponse => ({
  containerId: id,
  containerEventType: types[happened],
  createdAt: at,
  podSandboxStatus: pod && encodePodStatus(pod),
  containersStatuses: containerStatuses(containers),
});

/** On the wire; nothing for an event that cannot be told, as a client lists from time to time too. */
const eventBytes = (event: Event): Buffer[] =>
  eachSound(
    [event],
    ({ pod, id }) => pod ?? { id },
    (one) => {
      const bytes = Buffer.from(ContainerEventResponse.encode(encode(one)).finish());
      if (bytes.length > maxEventBytes) throw new Error(`an event of ${bytes.length} bytes is more than clients take`);
      return bytes;
    },
  );
