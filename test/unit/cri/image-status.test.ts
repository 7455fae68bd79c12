// What a verbose ImageStatus says of an image: its config, as containerd and CRI-O show it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { imageHandlers } from '../../../src/cri/image-service.ts';

const chain = `sha256:${'c'.repeat(64)}`;
const config = {
  os: 'linux',
  architecture: 'amd64',
  variant: '',
  env: ['A=b'],
  entrypoint: [],
  cmd: ['/x'],
  user: 'app',
  workingDir: '',
  labels: {},
  volumes: ['/v'],
  stopSignal: '',
};
const image = {
  id: `sha256:${'1'.repeat(64)}`,
  tags: [],
  digests: [],
  config,
  artifactType: '',
  passedOver: [],
  layers: [chain],
  size: 1,
  pulledAt: 0,
};

async function info(document: Buffer | null, verbose = true, labels = {}): Promise<string | undefined> {
  const labelled = { ...image, config: { ...config, labels } };
  const images = { find: () => labelled, list: () => [image], document: async () => document };
  const deps = { images, settings: { images: { pinned: [] } } };
  const answer = await imageHandlers(deps as never).imageStatus({ image: { image: 'r/a' } as never, verbose });
  return answer.info.info;
}

test('the document as it came, with what Berth makes nothing of', async () => {
  const document = `{ "created":"2020-02-02T02:02:02Z","history": [{"created_by":"ADD x"}], "os":"linux",
    "big": 12345678901234567890, "rootfs":{"type":"layers","diff_ids":["sha256:a"]} }`;
  const text = await info(Buffer.from(document));
  assert.equal(text, `{"chainID":"${chain}","imageSpec":${document}}`);
  assert.equal(JSON.parse(text).imageSpec.history[0].created_by, 'ADD x');
});

test('what is no UTF-8 in it is shown as such, and a mark of its order is not', async () => {
  const document = Buffer.concat([Buffer.from('\ufeff{"author":"'), Buffer.from([0xe9]), Buffer.from('"}')]);
  assert.deepEqual(JSON.parse((await info(document))!).imageSpec, { author: '\ufffd' });
});

test('in the same form of what is known, where there is no document or one too long for an answer', async () => {
  const spec = {
    architecture: 'amd64',
    os: 'linux',
    config: { Env: ['A=b'], Cmd: ['/x'], User: 'app', Volumes: { '/v': {} } },
    rootfs: { type: 'layers', diff_ids: [] },
  };
  for (const document of [null, Buffer.from(`{"a":"${'x'.repeat(8 << 20)}"}`)]) {
    assert.deepEqual(JSON.parse((await info(document))!), { chainID: chain, imageSpec: spec });
  }
});

test('labels beside it, as CRI-O has them, where there are any', async () => {
  const { labels, imageSpec } = JSON.parse((await info(Buffer.from('{"a":1}'), true, { maintainer: 'x' }))!);
  assert.deepEqual([labels, imageSpec], [{ maintainer: 'x' }, { a: 1 }]);
});

test('nothing unless it is asked for', async () => {
  assert.equal(await info(Buffer.from('{}'), false), undefined);
});
