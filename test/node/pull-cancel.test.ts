// Pulls that are called off, wherever they are: connections end, stages go, threads are free for the next pull. How long
// that takes is printed; the promise is a second.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, rmdirSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, type TestContext, test } from 'node:test';
import { status as grpc } from '@grpc/grpc-js';
import { mountTmpfs, unmount } from '../../src/sys/mounts.ts';
import { TestDaemon } from '../harness/daemon.ts';
import { ownHost } from '../harness/own-host.ts';
import { until } from '../harness/pods.ts';
import { image, layer, pushImage } from '../registry/images.ts';
import { startProxy } from '../registry/proxy.ts';
import { type Registry, startRegistry } from '../registry/server.ts';
import { Store } from '../registry/store.ts';
import { dir, file, hardlink, tar } from '../registry/tar.ts';

await ownHost();

const promiseMs = 10_000; // others may use all of the machine meanwhile
const noise = randomBytes(20_000_000);
const small = (index: number) => layer(tar(dir(`d${index}`), file(`d${index}/f`, randomBytes(300_000))));
const large = layer(tar(...[1, 2, 3, 4].map((i) => file(`noise-${i}`, noise))), 'none');
const zeros = layer(tar(file('zeros', Buffer.alloc(400_000_000))));
const many = layer(tar(...Array.from({ length: 100_000 }, (_, i) => file(`d${i % 100}/f${i}`, 'x'))));
const images = {
  plain: image([small(1), large]),
  wide: image(Array.from({ length: 12 }, (_, i) => small(i))),
  zeros: image([zeros]),
  many: image([many]),
};
let registry: Registry;
before(async () => {
  registry = await startRegistry();
  for (const [tag, built] of Object.entries(images)) {
    await pushImage({ host: registry.host, repository: 'app' }, tag, built);
  }
});
/** Everything is in memory: what a disk takes to remove files is not of interest. */
const memory = mkdtempSync(join(tmpdir(), 'berth-memory-'));
before(() => {
  mountTmpfs(memory, {});
  process.env.TMPDIR = memory;
});
after(async () => {
  unmount(memory, { detach: true });
  rmdirSync(memory);
  await registry[Symbol.asyncDispose]();
});

type Ask = {
  readonly url: string;
  readonly times: number;
  readonly outgoing: ServerResponse;
  readonly now: () => void;
};
type Case = {
  readonly tag: keyof typeof images;
  /** Says `now()` when it is time to call the pull off; true: it has answered, or never will. */
  readonly answer: (ask: Ask) => boolean;
  /** Left alone it would be pulled, and soon. */
  readonly goesOn?: boolean;
};

const isBlob = (url: string): boolean => url.includes('/blobs/');
const blobOf = ({ blob }: { blob: { digest: string } }, url: string): boolean => url.includes(blob.digest);
const nothing = ({ now }: Ask): true => {
  now();
  return true;
};

/** The threads have all there is of it, and work. */
const whole = (tag: Case['tag'], layer_: typeof many): Case => ({
  tag,
  answer: ({ url, outgoing, now }) => {
    if (!blobOf(layer_, url)) return false;
    outgoing.writeHead(200).end(layer_.blob.data, () => now());
    return true;
  },
  goesOn: true,
});

const cases: Record<string, Case> = {
  'nothing is said to the first question': { tag: 'plain', answer: nothing },
  'nothing is said about the config': {
    tag: 'plain',
    answer: (ask) => ask.url.includes(images.plain.config.digest) && nothing(ask),
  },
  'nothing is said about any layer': {
    tag: 'wide',
    answer: (ask) => isBlob(ask.url) && !ask.url.includes(images.wide.config.digest) && nothing(ask),
  },
  'a layer stops in its middle': {
    tag: 'zeros',
    answer: ({ url, outgoing, now }) => {
      if (!blobOf(zeros, url)) return false;
      outgoing.writeHead(200).write(zeros.blob.data.subarray(0, 100_000), () => now());
      return true;
    },
  },
  'a layer comes on several connections': {
    tag: 'plain',
    answer: (ask) => blobOf(large, ask.url) && ask.times > 6 && nothing(ask),
  },
  'a small blob becomes a large file': whole('zeros', zeros),
  'a small blob becomes thousands of files': whole('many', many),
  'the registry asks to wait': {
    tag: 'plain',
    answer: ({ outgoing, now }) => {
      outgoing.writeHead(503, { 'retry-after': '20' }).end(() => now());
      return true;
    },
  },
};

/** The registry as one case has it, with its connections. */
async function front({ answer }: Case) {
  const time = Promise.withResolvers<void>();
  const sockets = new Set<Socket>();
  let asked = 0;
  let lastClosed = 0;
  const proxy = await startProxy(registry.host, (incoming: IncomingMessage, outgoing) => {
    const { socket } = incoming;
    const forget = () => {
      sockets.delete(socket);
      lastClosed = performance.now();
    };
    if (!sockets.has(socket)) socket.once('close', forget);
    sockets.add(socket);
    return answer({ url: incoming.url ?? '', times: ++asked, outgoing, now: time.resolve });
  });
  const closed = () =>
    until('the end of every connection', async () => (sockets.size === 0 ? lastClosed : undefined), 10_000);
  return {
    reference: `${proxy.host}/app`,
    time: time.promise,
    closed,
    [Symbol.asyncDispose]: () => proxy[Symbol.asyncDispose](),
  };
}

/** Files of a layer are being written. */
const unpacking = (root: string) =>
  until('the first file', async () =>
    readdirSync(root).some(
      (name) => existsSync(join(root, name, 'fs')) && readdirSync(join(root, name, 'fs')).length > 0,
    ),
  );

function report(t: TestContext, since: number, moments: Record<string, number>): void {
  const shown = Object.entries(moments).map(([what, at]) => `${what} after ${Math.max(at - since, 0).toFixed(0)} ms`);
  t.diagnostic(shown.join(', '));
  for (const [what, at] of Object.entries(moments)) assert.ok(at - since < promiseMs, `${what}: ${at - since} ms`);
}

for (const [name, case_] of Object.entries(cases)) {
  test(`called off when ${name}`, async (t) => {
    await using store = await Store.open();
    await using registry_ = await front(case_);
    const stop = new AbortController();
    const pull = store.pull(`${registry_.reference}:${case_.tag}`, stop.signal);
    pull.catch(() => {});
    await registry_.time;
    if (case_.goesOn) await unpacking(store.snapshots.root);
    const since = performance.now();
    stop.abort(new Error('the caller went away'));
    await assert.rejects(pull, { message: 'the caller went away' });
    const rejected = performance.now();
    await store.images.settled(); // stages are gone by then, and threads have said that they are done
    const idle = performance.now();
    assert.deepEqual(store.leftovers(), []);
    assert.deepEqual(store.images.pulls.statuses(), []);
    const closed = await registry_.closed();
    report(t, since, { 'the caller knows': rejected, 'all is idle': idle, 'connections end': closed });
    const { id } = await store.pull(`${registry.host}/app:wide`);
    assert.equal(id, images.wide.config.digest);
  });
}

test('called off while thousands of links are settled', async (t) => {
  const files = Array.from({ length: 60_000 }, (_, i) => `d${i % 100}/f${i}`);
  const lower = layer(tar(...files.map((path) => file(path, 'x'))));
  const built = image([lower, layer(tar(...files.map((path) => hardlink(`of-${path}`, path))))]);
  await pushImage({ host: registry.host, repository: 'app' }, 'links', built);
  await using store = await Store.open();
  const { root } = store.snapshots;
  const stop = new AbortController();
  const pull = store.pull(`${registry.host}/app:links`, stop.signal);
  pull.catch(() => {});
  // The copy of a lower file is the first that a join makes.
  const isCopy = (name: string) => name.startsWith('.stage') && existsSync(join(root, name, 'fs/d0/f0'));
  const below = join(root, lower.diffId.replace(':', '-'));
  await until('the settling of links', async () => existsSync(below) && readdirSync(root).some(isCopy));
  const since = performance.now();
  stop.abort(new Error('the caller went away'));
  await assert.rejects(pull, { message: 'the caller went away' });
  await store.images.settled();
  report(t, since, { 'all is idle': performance.now() });
  assert.deepEqual(store.leftovers(), []);
  const { id } = await store.pull(`${registry.host}/app:links`);
  assert.equal(id, built.config.digest);
});

for (const way of ['a cancel', 'a deadline'] as const) {
  test(`${way} of PullImage reaches the registry and the disk`, async (t) => {
    const daemon = new TestDaemon({ network: false });
    await using _ = { [Symbol.asyncDispose]: () => daemon.dispose() };
    await daemon.start();
    const snapshots = join(daemon.dataDir, 'v1/snapshots');
    for (const [name, case_] of Object.entries(cases)) {
      if (way === 'a deadline' && case_.goesOn) continue;
      await using registry_ = await front(case_);
      const stop = new AbortController();
      // A deadline must leave the time to get there.
      const deadline = Date.now() + (way === 'a deadline' ? 800 : 60_000);
      const request = { image: { image: `${registry_.reference}:${case_.tag}` } };
      const pull = daemon.images.pullImage(request, { signal: stop.signal, deadline });
      const ended = pull.then(
        () => assert.fail(`${name}: it was pulled`),
        ({ code }: { code: number }) => code,
      );
      await Promise.race([registry_.time, ended]);
      if (case_.goesOn) await unpacking(snapshots);
      if (way === 'a cancel') stop.abort();
      const since = way === 'a cancel' ? performance.now() : performance.now() + (deadline - Date.now());
      assert.equal(await ended, way === 'a cancel' ? grpc.CANCELLED : grpc.DEADLINE_EXCEEDED);
      const idle = await until('the end of the pull', async () => {
        const { pulls } = await daemon.admin.listPulls({});
        return pulls.length === 0 && readdirSync(snapshots).length === 0 && performance.now();
      });
      report(t, since, { [`${name}: all is idle`]: idle, 'connections end': await registry_.closed() });
    }
    const { imageRef } = await daemon.images.pullImage({ image: { image: `${registry.host}/app:wide` } });
    assert.equal(imageRef, images.wide.config.digest);
  });
}
