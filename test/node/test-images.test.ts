import assert from 'node:assert/strict';
import test from 'node:test';
import { ownHost } from '../harness/own-host.ts';
import { ensureBusybox } from '../images/busybox.ts';
import { buildCatalog, startTestRegistry } from '../images/index.ts';

await ownHost(ensureBusybox);

const building = buildCatalog();

test('the registry serves every test image under the digest that a new build gets', async () => {
  const images = await building;
  await using registry = await startTestRegistry();
  for (const { names, manifest, config, layers } of images) {
    for (const name of names) {
      const [repository, tag] = name.split(':');
      const base = `http://${registry.address}/v2/${repository}`;
      const answer = await fetch(`${base}/manifests/${tag}`, { headers: { accept: manifest.mediaType } });
      assert.equal(answer.headers.get('docker-content-digest'), manifest.digest, name);
      for (const { digest, size } of [config, ...layers]) {
        const { headers } = await fetch(`${base}/blobs/${digest}`, { method: 'HEAD' });
        assert.equal(Number(headers.get('content-length')), size, `${name} ${digest}`);
      }
    }
  }
});

test('images that differ in one thing have digests of their own, tags of one image share one', async () => {
  const images = await building;
  const digests = images.map(({ config }) => config.digest);
  assert.equal(new Set(digests).size, images.length);
  const tags = images.find(({ names }) => names.some((name) => name.endsWith('test-image-tags:1')));
  assert.equal(tags?.names.length, 3);
});
