// Servers that encode what they send, unasked, in every way that a header can say, and those that only say it.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import { describe, test } from 'node:test';
import { brotliCompressSync, deflateRawSync, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib';
import { ownHost } from '../harness/own-host.ts';
import { image, layer } from '../registry/images.ts';
import { listening } from '../registry/listening.ts';
import { Store } from '../registry/store.ts';
import { file, tar } from '../registry/tar.ts';

await ownHost();

const noise = tar(file('noise', randomBytes(3000).toString('hex')));
const built = image([layer(noise, 'none'), layer(noise, 'gzip'), layer(tar(file('zeros', Buffer.alloc(8e6))), 'none')]);
const documents = new Map<string, Buffer>([
  ['manifests/v1', built.manifest.data],
  ...[built.config, ...built.layers.map(({ blob }) => blob)].map(
    ({ digest, data }) => [`blobs/${digest}`, data] as const,
  ),
]);

type Said = { readonly header: string | readonly string[]; readonly withLength?: boolean };

/** A registry that sends everything so, and how often it was asked for something. */
async function registry({ header, withLength = true }: Said, encode: (data: Buffer) => Buffer) {
  const asked: string[] = [];
  const server = createServer(({ url = '' }, outgoing) => {
    const path = url.replace(/^\/v2\/app\//, '');
    asked.push(path);
    const data = encode(documents.get(path)!);
    outgoing.setHeader('content-encoding', header as string | string[]);
    outgoing.setHeader('content-type', path.startsWith('manifests/') ? built.mediaType : 'application/octet-stream');
    if (withLength) outgoing.setHeader('content-length', data.length);
    outgoing.writeHead(200).end(data);
  });
  return { asked, ...(await listening(server)) };
}

const asIs = (data: Buffer) => data;
const ways: Readonly<Record<string, readonly [Said['header'], (data: Buffer) => Buffer]>> = {
  deflate: ['deflate', deflateSync],
  'deflate without its frame': ['deflate', deflateRawSync],
  zstd: ['ZSTD', zstdCompressSync],
  'nothing, by that name': ['identity', asIs],
  'nothing and gzip': ['identity, x-gzip', gzipSync],
  'gzip, and that by br': ['gzip, br', (data) => brotliCompressSync(gzipSync(data))],
  'gzip twice': ['gzip,gzip', (data) => gzipSync(gzipSync(data))],
  'gzip, said twice': [['gzip', 'gzip'], gzipSync],
  'nothing, called gzip twice': ['gzip, gzip', asIs],
  'nothing, called by a name that nobody knows': ['aws-chunked', asIs],
};

describe('what is sent encoded unasked is read, and costs one request each', () => {
  for (const [name, [header, encode]] of Object.entries(ways)) {
    for (const withLength of [true, false]) {
      test(`${name}, ${withLength ? 'with' : 'without'} a length`, async () => {
        await using server = await registry({ header, withLength }, encode);
        await using store = await Store.open();
        assert.equal((await store.pull(`${server.host}/app:v1`)).id, built.config.digest);
        assert.equal(server.asked.length, documents.size, server.asked.join(' '));
      });
    }
  }
});

describe('what is encoded so that it cannot be undone is refused by the name of the encoding', () => {
  const scrambled = (data: Buffer) => Buffer.concat([Buffer.from([0x1f, 0x9d, 0x90]), data.map((byte) => byte ^ 1)]);
  const sent: Readonly<Record<string, (data: Buffer) => Buffer>> = {
    'a document': scrambled,
    'a layer': (data) => (data[0] === 0x7b ? data : scrambled(data)),
  };
  for (const [name, encode] of Object.entries(sent)) {
    test(name, async () => {
      await using server = await registry({ header: 'compress' }, encode);
      await using store = await Store.open();
      const wanted = { kind: 'Unimplemented', message: /encoded by "compress", which is not undone here/ };
      await assert.rejects(store.pull(`${server.host}/app:v1`), wanted);
      assert.deepEqual(store.leftovers(), []);
    });
  }
});
