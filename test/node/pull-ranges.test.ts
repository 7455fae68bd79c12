// One large layer over several connections, and what a registry may do with parts of blobs.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { ownHost } from '../harness/own-host.ts';
import { image, layer, pushImage } from '../registry/images.ts';
import { type Misbehave, startProxy } from '../registry/proxy.ts';
import { type Registry, startRegistry } from '../registry/server.ts';
import { Store } from '../registry/store.ts';
import { file, tar } from '../registry/tar.ts';

await ownHost();

const content = randomBytes(40_000_000);
const built = image([layer(tar(file('noise', content)), 'none')]);
const { digest } = built.layers[0]!.blob;
let registry: Registry;
before(async () => {
  registry = await startRegistry();
  await pushImage({ host: registry.host, repository: 'app' }, 'v1', built);
});
after(() => registry[Symbol.asyncDispose]());

/** Pulls through a proxy that misbehaves for the layer; returns the ranges that were asked for. */
async function pulled(misbehave: Misbehave, connectionsPerLayer?: number): Promise<string[]> {
  await using proxy = await startProxy(registry.host, (incoming, ...rest) =>
    incoming.url?.includes(digest) ? misbehave(incoming, ...rest) : false,
  );
  await using store = await Store.open(connectionsPerLayer ? { connectionsPerLayer } : {});
  const { id } = await store.pull(`${proxy.host}/app:v1`);
  assert.ok(readFileSync(join(await store.mount(id), 'noise')).equals(content));
  assert.deepEqual(store.images.pulls.statuses(), []);
  return proxy
    .blobs()
    .filter(({ url }) => url.includes(digest))
    .map(({ headers }) => headers.range ?? 'whole');
}

test('a large layer comes in parts, each byte once', async () => {
  const ranges = await pulled(() => false);
  const parts = ranges
    .map((range) => /^bytes=(\d+)-(\d*)$/.exec(range)!)
    .map(([, from, to]) => [Number(from), to === '' ? built.layers[0]!.blob.data.length : Number(to) + 1])
    .sort(([a], [b]) => a! - b!);
  assert.ok(parts.length > 4, ranges.join(' '));
  for (const [index, [from]] of parts.entries()) assert.equal(from, index === 0 ? 0 : parts[index - 1]![1]);
});

test('one connection is one request', async () => {
  assert.deepEqual(await pulled(() => false, 1), ['whole']);
});

for (const end of ['breaks', 'is awaited in vain'] as const) {
  test(`a layer of which all came, and whose end ${end}, is there`, async () => {
    const one = image([layer(tar(file('noise', content.subarray(0, 100_000))), 'none')]);
    await pushImage({ host: registry.host, repository: 'app' }, 'v2', one);
    const { data, digest: wanted } = one.layers[0]!.blob;
    await using proxy = await startProxy(registry.host, ({ url }, outgoing) => {
      if (!url?.includes(wanted)) return false;
      outgoing.writeHead(200).write(data, () => end === 'breaks' && outgoing.destroy()); // chunks, without the last
      return true;
    });
    await using store = await Store.open({ progressTimeoutMs: 2000 });
    assert.equal((await store.pull(`${proxy.host}/app:v2`)).id, one.config.digest);
    assert.equal(proxy.blobs().filter(({ url }) => url.includes(wanted)).length, 1);
  });
}

test('a registry that sends whole blobs only is asked for the whole', async () => {
  const ranges = await pulled((incoming) => {
    delete incoming.headers.range;
    return false;
  });
  assert.ok(ranges.length <= 5, ranges.join(' '));
});

test('a registry that has one connection for everybody gives the whole by it', async () => {
  let open = 0;
  const ranges = await pulled(async (incoming, outgoing, proxy) => {
    const isFirst = open++ === 0;
    outgoing.once('close', () => open--);
    if (isFirst && !incoming.headers.range) return false;
    if (isFirst) await sleep(500); // so that others come meanwhile
    if (isFirst) await proxy.forward(incoming, outgoing);
    else outgoing.writeHead(429, { 'retry-after': '0' }).end();
    return true;
  });
  assert.equal(ranges.at(-1), 'whole', ranges.join(' '));
});

test('parts that break are asked for again from where they broke', async () => {
  let breaks = 0;
  const ranges = await pulled(async (incoming, outgoing, proxy) => {
    if (breaks++ >= 8) return false;
    await proxy.forward(incoming, outgoing, (body) => body.subarray(0, 1_000_000));
    return true;
  });
  assert.ok(ranges.includes('bytes=1000000-2097151'), ranges.join(' '));
});

test('parts that are refused in the middle fail the pull, and nothing is left', async () => {
  let asked = 0;
  await using proxy = await startProxy(registry.host, (incoming, outgoing) => {
    if (!incoming.url?.includes(digest) || ++asked < 4) return false;
    outgoing.writeHead(403).end();
    return true;
  });
  await using store = await Store.open();
  await assert.rejects(store.pull(`${proxy.host}/app:v1`), { kind: 'Unauthenticated' });
  assert.deepEqual(store.leftovers(), []);
});
