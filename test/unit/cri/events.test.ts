// What happened, for who listens and for who comes back.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { ContainerEventResponse, ContainerEventType, PodSandboxState } from '../../../src/api/runtime/v1/cri.ts';
import { ContainerEvents } from '../../../src/cri/events.ts';
import type { Container, ContainerState } from '../../../src/model/container.ts';
import type { Pod } from '../../../src/model/pod.ts';
import type { Listener } from '../../../src/state/records.ts';
import { containerId, containerIn, exited, podId, podIn, ready, running } from '../lifecycle/fakes.ts';

const { CONTAINER_CREATED_EVENT, CONTAINER_STARTED_EVENT, CONTAINER_STOPPED_EVENT, CONTAINER_DELETED_EVENT } =
  ContainerEventType;
const words = new Map([
  [CONTAINER_CREATED_EVENT, 'created'],
  [CONTAINER_STARTED_EVENT, 'started'],
  [CONTAINER_STOPPED_EVENT, 'stopped'],
  [CONTAINER_DELETED_EVENT, 'deleted'],
]);
const down = { phase: 'notReady', released: false, reason: '', network: null } as const;
const removing = { ...exited, phase: 'removing' } as ContainerState;

type Client = { readonly next: () => Promise<ContainerEventResponse>; readonly leave: () => void };

function listen(events: ContainerEvents, since?: bigint): Client {
  const left = new AbortController();
  const stream = events.subscribe({ signal: left.signal } as never, since);
  const next = async () => {
    const { value, done } = await stream.next();
    if (done) throw new Error('the stream has ended');
    return ContainerEventResponse.decode(value as Buffer);
  };
  return { next, leave: () => left.abort() };
}

/** Records without a disk. */
class Memory<T extends { readonly id: string }> {
  readonly #map: Map<string, T>;
  readonly #listeners: Listener<T>[] = [];
  constructor(records: readonly T[]) {
    this.#map = new Map(records.map((record) => [record.id, record]));
  }
  all = () => this.#map.values();
  get = (id: string) => this.#map.get(id);
  listen = (listener: Listener<T>) => void this.#listeners.push(listener);
  put(record: T): void {
    const before = this.#map.get(record.id);
    this.#map.set(record.id, record);
    for (const listener of this.#listeners) listener(record, before);
  }
  delete(id: string): void {
    const before = this.#map.get(id);
    this.#map.delete(id);
    for (const listener of this.#listeners) listener(undefined, before);
  }
}

/** Events of a daemon with these records; `told` gives so many events as words. */
function world(pods: readonly Pod[] = [], containers: readonly Container[] = []) {
  const deps = { pods: new Memory(pods), containers: new Memory(containers) };
  const events = new ContainerEvents(deps as never);
  const listener = listen(events);
  const shown = ({ containerId: id, containerEventType }: ContainerEventResponse) =>
    `${id[0]} ${words.get(containerEventType as never)}`;
  const told = async (count: number, from = listener) => {
    const found: string[] = [];
    while (found.length < count) found.push(shown(await from.next()));
    return found;
  };
  return { deps, events, told };
}

test("a pod's life and its containers', each step once, in order", async () => {
  const { deps, told } = world();
  const all = told(8);
  deps.pods.put(podIn({ phase: 'creating' }));
  deps.pods.put(podIn(ready));
  deps.pods.put(podIn(ready, { handler: 'changed' }));
  for (const state of [
    { phase: 'creating' },
    { phase: 'created' },
    running,
    running,
    exited,
    removing,
  ] as ContainerState[]) {
    deps.containers.put(containerIn(state));
  }
  deps.containers.delete(containerId);
  deps.pods.put(podIn(down));
  deps.pods.delete(podId);
  assert.deepEqual(await all, [
    'a created',
    'a started',
    'c created',
    'c started',
    'c stopped',
    'c deleted',
    'a stopped',
    'a deleted',
  ]);
});

test('what failed while it was made is never heard of', async () => {
  const { deps, told } = world();
  const all = told(2);
  for (const id of [podId, 'b'.repeat(64) as typeof podId]) deps.pods.put(podIn({ phase: 'creating' }, { id }));
  deps.pods.delete(podId);
  deps.containers.put(containerIn({ phase: 'creating' }));
  deps.containers.delete(containerId);
  deps.pods.put(podIn(ready, { id: 'b'.repeat(64) as typeof podId }));
  assert.deepEqual(await all, ['b created', 'b started']);
});

test('of what was there at the start the end is told', async () => {
  const { deps, told } = world([podIn(ready)], [containerIn(running)]);
  const all = told(3);
  deps.containers.put(containerIn(exited));
  deps.containers.delete(containerId);
  deps.pods.delete(podId);
  assert.deepEqual(await all, ['c stopped', 'c deleted', 'a deleted']);
});

test('an event has the records as they were then, that of a pod that is gone its last', async () => {
  const { deps, events } = world();
  const listener = listen(events, 0n);
  deps.pods.put(podIn(ready));
  deps.containers.put(containerIn(running));
  deps.pods.put(podIn(down));
  deps.containers.delete(containerId);
  deps.pods.delete(podId);
  const found: ContainerEventResponse[] = [];
  while (found.length < 6) found.push(await listener.next());
  const { SANDBOX_READY: up, SANDBOX_NOTREADY: off } = PodSandboxState;
  assert.deepEqual(
    found.map(({ podSandboxStatus, containersStatuses }) => [podSandboxStatus?.state, containersStatuses.length]),
    [
      [up, 0],
      [up, 0],
      [up, 1],
      [off, 1],
      [off, 0],
      [off, 0],
    ],
  );
});

describe('who comes back', () => {
  test('is told what came after the last that it saw, then all that comes', async () => {
    const { deps, events, told } = world();
    const first = listen(events);
    const seen = first.next();
    deps.pods.put(podIn(ready));
    const { createdAt } = await seen;
    first.leave();
    deps.pods.put(podIn(down));
    const again = listen(events, createdAt);
    deps.pods.delete(podId);
    assert.deepEqual(await told(3, again), ['a started', 'a stopped', 'a deleted']);
  });

  test('finds times that grow, whatever the clock does', async (t) => {
    t.mock.timers.enable({ apis: ['Date'], now: 5000 });
    const { deps, events } = world();
    const listener = listen(events, 0n);
    deps.pods.put(podIn(ready));
    t.mock.timers.setTime(1000);
    deps.pods.put(podIn(down));
    const times = [await listener.next(), await listener.next(), await listener.next()].map(
      ({ createdAt }) => createdAt,
    );
    assert.ok(times[0]! < times[1]! && times[1]! < times[2]!, `${times}`);
  });

  test('finds the last two thousand', async () => {
    const { events, told, deps } = world([podIn(ready)], [containerIn(running)]);
    for (let rounds = 0; rounds < 1001; rounds++) {
      deps.containers.put(containerIn({ phase: 'created' }));
      deps.containers.put(containerIn(running));
    }
    deps.containers.put(containerIn(exited));
    const found = await told(2000, listen(events, 0n));
    assert.deepEqual([found[0], found.at(-1)], ['c started', 'c stopped']);
  });
});

test('who does not read is cut off, and nobody else', async () => {
  const { deps, events, told } = world([podIn(ready)], [containerIn(running)]);
  const slow = listen(events);
  const fast = told(10_003);
  const first = slow.next();
  for (let rounds = 0; rounds < 5001; rounds++) {
    for (const state of [{ phase: 'created' }, running] as ContainerState[]) deps.containers.put(containerIn(state));
    if (rounds % 500 === 0) await new Promise(setImmediate);
  }
  deps.containers.put(containerIn(exited));
  await first;
  assert.equal((await fast).at(-1), 'c stopped');
  await assert.rejects(slow.next(), { kind: 'ResourceExhausted', message: /More than 10000 events were not read/ });
});

test('who leaves is told no more, and is not kept', async () => {
  const { deps, events } = world();
  const left = new AbortController();
  const stream = events.subscribe({ signal: left.signal } as never);
  const next = stream.next();
  left.abort();
  assert.equal((await next).done, true);
  deps.pods.put(podIn(ready));
});
