import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { ownHost } from '../harness/own-host.ts';
import { image, layer, pushImage } from '../registry/images.ts';
import { type Registry, startRegistry } from '../registry/server.ts';
import { Store } from '../registry/store.ts';
import { dir, file, tar } from '../registry/tar.ts';

await ownHost();

let registry: Registry;
before(async () => {
  registry = await startRegistry();
});
after(() => registry[Symbol.asyncDispose]());

test('an image is pulled, found by every name, and mounts', async () => {
  await using store = await Store.open();
  const built = image([layer(tar(dir('etc'), file('etc/a', 'one'))), layer(tar(file('etc/a', 'two'), file('b', 'x')))]);
  await pushImage({ host: registry.host, repository: 'team/app' }, 'v1', built);
  const name = `${registry.host}/team/app`;
  const pulled = await store.pull(`${name}:v1`);
  assert.equal(pulled.id, built.config.digest);
  assert.deepEqual(pulled.tags, [`${name}:v1`]);
  assert.deepEqual(pulled.digests, [`${name}@${built.manifest.digest}`]);
  for (const text of [
    `${name}:v1`,
    `${name}@${built.manifest.digest}`,
    pulled.id,
    pulled.id.slice(7),
    pulled.id.slice(7, 20),
  ]) {
    assert.equal(store.images.find(text)?.id, pulled.id, text);
  }
  const root = await store.mount(pulled.id);
  assert.deepEqual(readdirSync(root), ['b', 'etc']);
  assert.equal(readFileSync(join(root, 'etc/a'), 'utf8'), 'two');
});
