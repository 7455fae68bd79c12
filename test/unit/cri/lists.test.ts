// One record that cannot be shown takes nothing else with it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  ContainerEventResponse,
  ContainerState,
  ListContainerStatsResponse,
  ListContainersResponse,
  ListImagesResponse,
  ListPodSandboxResponse,
  ListPodSandboxStatsResponse,
} from '../../../src/api/runtime/v1/cri.ts';
import { log } from '../../../src/base/log.ts';
import { ContainerEvents } from '../../../src/cri/events.ts';
import { imageHandlers } from '../../../src/cri/image-service.ts';
import { batches } from '../../../src/cri/list-bytes.ts';
import { int64, nanoseconds, uint64 } from '../../../src/cri/numbers.ts';
import { podStatus } from '../../../src/cri/reads.ts';
import { runtimeHandlers } from '../../../src/cri/runtime-service.ts';
import { statsHandlers } from '../../../src/cri/stats-service.ts';
import { Mending } from '../../../src/lifecycle/mending.ts';
import type { Image } from '../../../src/model/image.ts';

type Json = Record<string, unknown>;
const id = (character: string) => character.repeat(64);
const labels = { app: 'x' };
const pod = (own: string, change: Json = {}, metadata: Json = {}): Json => ({
  id: id(own),
  config: {
    metadata: { name: own, uid: own, namespace: 'ns', attempt: 0, ...metadata },
    labels,
    annotations: {},
    security: { namespaces: { network: 'pod', pid: 'pod', ipc: 'pod', targetId: '', user: null } },
  },
  handler: '',
  createdAt: 5,
  bootId: '',
  state: { phase: 'ready', pausePid: 1, network: null },
  ...change,
});
const container = (own: string, change: Json = {}, metadata: Json = {}): Json => ({
  id: id(own),
  podId: id('a'),
  config: {
    metadata: { name: own, attempt: 0, ...metadata },
    image: { image: 'i', annotations: {}, userSpecifiedImage: '', runtimeHandler: '' },
    labels,
    annotations: {},
    resources: { hugepageLimits: [], unified: {} },
  },
  imageId: 'i',
  imageRef: 'i',
  user: { uid: 0, gid: 0, groups: [] },
  mounts: [],
  stopSignal: 15,
  logPath: '',
  createdAt: 5,
  state: { phase: 'running', pid: 1, startedAt: 6 },
  ...change,
});

/** As Records, with what a disk may hold. */
class Held {
  readonly #records: readonly Json[];
  readonly listeners: ((after: unknown, before: unknown) => void)[] = [];
  constructor(...records: Json[]) {
    this.#records = records;
  }
  all() {
    return this.#records.values();
  }
  get(wanted: string) {
    return this.#records.find((record) => record.id === wanted);
  }
  find(wanted: string) {
    return this.get(wanted);
  }
  listen(listener: (after: unknown, before: unknown) => void) {
    this.listeners.push(listener);
  }
}

const usage = { cpu: null, throttling: {}, memory: null, io: null, processes: null };
const stats = {
  ofContainer: async (one: Json) => {
    if (one.id === id('f')) throw new Error('EIO');
    return {
      container: one,
      at: Number.NaN,
      usage,
      cpuRate: Number.POSITIVE_INFINITY,
      layer: null,
      logLoss: { bytes: 0, lines: 0 },
    };
  },
  ofPod: async (one: Json) => ({
    pod: one,
    at: 1,
    usage: { ...usage, processes: Number.POSITIVE_INFINITY },
    cpuRate: 0,
    interfaces: [],
    containers: broken.map((each) => ({
      container: each,
      at: 1,
      usage,
      cpuRate: 0,
      layer: null,
      logLoss: { bytes: 0, lines: 0 },
    })),
  }),
};
/** The first is whole; the others are not. */
const broken = [
  container('b'),
  container('c', {}, { attempt: -1 }),
  container('d', { podId: undefined }),
  container('e', { createdAt: undefined, user: undefined }),
  container('f', { createdAt: 1e300, state: { phase: 'of another version' } }),
  container('0', { config: {} }),
];
const deps = (images: readonly Image[] = []) =>
  ({
    pods: new Held(
      pod('a'),
      pod('b', {}, { attempt: 2 ** 32 }),
      pod('c', { config: {} }),
      pod('d', { createdAt: 'now' }),
    ),
    containers: new Held(...broken),
    mending: new Mending(),
    images: { list: () => images, find: (name: string) => images.find((image) => image.id === name) },
    settings: { images: { pinned: [] } },
    stats,
    imageMountpoint: '/',
  }) as never;
const names = (list: readonly { metadata?: { name: string } | undefined }[]) => list.map((one) => one.metadata?.name);

test('pods that cannot be encoded are left out, and logged once', async (t) => {
  const logged = t.mock.method(log, 'error', () => {});
  const handlers = runtimeHandlers(deps());
  for (const _ of [1, 2]) {
    const { items } = ListPodSandboxResponse.decode(handlers.listPodSandbox({ filter: undefined }));
    assert.deepEqual(names(items), ['a', 'd']);
    assert.equal(items[1]?.createdAt, 0n);
  }
  assert.equal(logged.mock.callCount(), 2);
});

test('pods that a filter cannot look at do not match', (t) => {
  t.mock.method(log, 'error', () => {});
  const filter = { id: '', state: undefined, labelSelector: labels };
  const { items } = ListPodSandboxResponse.decode(runtimeHandlers(deps()).listPodSandbox({ filter }));
  assert.deepEqual(names(items), ['a', 'd']);
});

test('containers that cannot be encoded are left out; what is unknown of others is shown as that', (t) => {
  t.mock.method(log, 'error', () => {});
  const { containers } = ListContainersResponse.decode(runtimeHandlers(deps()).listContainers({ filter: undefined }));
  assert.deepEqual(names(containers), ['b', 'e', 'f']);
  assert.deepEqual(
    containers.map(({ createdAt }) => createdAt),
    [5_000_000n, 0n, 2n ** 63n - 1n],
  );
  assert.equal(containers[2]?.state, ContainerState.CONTAINER_UNKNOWN);
});

test('the status of a pod has every container that can be encoded', async (t) => {
  t.mock.method(log, 'error', () => {});
  const { containersStatuses } = await podStatus(deps(), { podSandboxId: id('a'), verbose: false });
  assert.deepEqual(names(containersStatuses), ['b', 'f']);
});

test('figures: of each container and pod that can be encoded, and 0 for what is no number', async (t) => {
  t.mock.method(log, 'error', () => {});
  const handlers = statsHandlers(deps());
  const list = ListContainerStatsResponse.decode(await handlers.listContainerStats({ filter: undefined }));
  assert.deepEqual(
    list.stats.map(({ attributes }) => attributes?.metadata?.name),
    ['b', 'e'],
  );
  const pods = ListPodSandboxStatsResponse.decode(await handlers.listPodSandboxStats({ filter: undefined }));
  assert.deepEqual(
    pods.stats.map(({ attributes }) => attributes?.metadata?.name),
    ['a', 'd'],
  );
  assert.deepEqual(
    pods.stats[0]?.linux?.containers.map(({ attributes }) => attributes?.metadata?.name),
    ['b', 'd', 'e', 'f'],
  );
  assert.equal(pods.stats[0]?.linux?.process?.processCount?.value, 2n ** 64n - 1n);
});

test('an event tells of every container that can be encoded', async (t) => {
  t.mock.method(log, 'error', () => {});
  const held = deps() as { containers: Held };
  const events = new ContainerEvents(held as never);
  const left = new AbortController();
  const stream = events.subscribe({ signal: left.signal } as never);
  const next = stream.next();
  held.containers.listeners[0]!(broken[0], undefined);
  const { value } = await next;
  assert.deepEqual(names(ContainerEventResponse.decode(value as Buffer).containersStatuses), ['b', 'f']);
  left.abort();
});

const image = (own: string, user: string, size = 1): Image => ({
  id: `sha256:${id(own)}` as never,
  tags: [`r/${own}:1`],
  digests: [],
  config: { user } as Image['config'],
  artifactType: '',
  passedOver: [],
  layers: [],
  size,
  pulledAt: 0,
});

test('images: a user that is no id is a name of bounded length, never a failure and never root', () => {
  const users = ['9223372036854775808', '7'.repeat(7 << 20), '4294967295', '1000:5', 'app:5', '', '-1', '\ud800'];
  const images = users.map((user, i) => image(String(i), user, i === 0 ? Number.NaN : -i));
  const bytes = imageHandlers(deps(images)).listImages({ filter: undefined });
  assert.ok(bytes.length < 10_000, `${bytes.length} bytes`);
  assert.deepEqual(
    ListImagesResponse.decode(bytes).images.map(({ uid, username, size }) => [uid?.value, username, size]),
    [
      [undefined, '9223372036854775808', 0n],
      [undefined, '7'.repeat(256), 0n],
      [undefined, '4294967295', 0n],
      [1000n, '', 0n],
      [undefined, 'app', 0n],
      [undefined, '', 0n],
      [undefined, '-1', 0n],
      [undefined, '\ufffd', 0n],
    ],
  );
});

test('images that cannot be encoded are left out', (t) => {
  t.mock.method(log, 'error', () => {});
  const images = [image('1', 'a'), { ...image('2', 'a'), config: undefined } as never, image('3', 'a')];
  const { images: shown } = ListImagesResponse.decode(imageHandlers(deps(images)).listImages({ filter: undefined }));
  assert.deepEqual(
    shown.map(({ repoTags }) => repoTags[0]),
    ['r/1:1', 'r/3:1'],
  );
});

test('numbers: the nearest that fits, 0 for what is none', () => {
  for (const none of [Number.NaN, undefined, null, 'x', {}]) {
    assert.deepEqual([int64(none as number), uint64(none as number), nanoseconds(none as number)], [0n, 0n, 0n]);
  }
  assert.deepEqual([int64(Number.NEGATIVE_INFINITY), int64(Number.POSITIVE_INFINITY)], [-(2n ** 63n), 2n ** 63n - 1n]);
  assert.deepEqual([uint64(-5), uint64(Number.POSITIVE_INFINITY)], [0n, 2n ** 64n - 1n]);
  assert.deepEqual([uint64(1.5), uint64(7, 1000n), uint64(1e19, 1000n)], [2n, 7000n, 2n ** 64n - 1n]);
  assert.equal(nanoseconds(1_700_000_000_000.123), 1_700_000_000_000_123_000n);
});

test('a streamed list comes in messages of bounded size, and a list of nothing in none', () => {
  const items = Array.from({ length: 10 }, (_, i) => Buffer.alloc(300_000, i));
  const messages = [...batches(items)];
  assert.ok(Buffer.concat(messages).equals(Buffer.concat(items)));
  assert.deepEqual(
    messages.map(({ length }) => length),
    [900_000, 900_000, 900_000, 300_000],
  );
  assert.deepEqual([...batches([])], []);
  assert.equal([...batches([Buffer.alloc(3_000_000)])].length, 1, 'an item is never cut');
});
