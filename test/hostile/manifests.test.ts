// Documents that a registry may serve instead of an image: a clear error, nothing in the store, little memory.
import assert from 'node:assert/strict';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, test } from 'node:test';
import { Fault, type FaultKind } from '../../src/base/fault.ts';
import { ownHost } from '../harness/own-host.ts';
import { type Blob, type BuiltImage, blob, image, layer, ociIndex, ociManifest } from '../registry/images.ts';
import { Store } from '../registry/store.ts';
import { file, tar } from '../registry/tar.ts';

await ownHost();

const good = image([layer(tar(file('a', 'x')))]);
const goodLayer = good.layers[0]!;
type Json = Record<string, unknown>;
const manifestJson: Json = JSON.parse(good.manifest.data.toString());
const configJson: Json = JSON.parse(good.config.data.toString());
const zeros = `sha256:${'0'.repeat(64)}`;

/** A registry that serves one document for the tag, and blobs by digest. */
class OneDocument implements AsyncDisposable {
  readonly #server: Server;
  readonly #blobs = new Map<string, Buffer>();
  document: Buffer = Buffer.alloc(0);
  type = ociManifest;

  constructor() {
    this.#server = createServer((incoming, outgoing) => {
      const [, target = ''] = /\/(?:manifests|blobs)\/(.+)$/.exec(incoming.url ?? '') ?? [];
      const data = target === 'v1' ? this.document : this.#blobs.get(decodeURIComponent(target));
      if (!data) outgoing.writeHead(404).end();
      else {
        const type = target === 'v1' ? this.type : 'application/octet-stream';
        outgoing.writeHead(200, { 'content-type': type, 'content-length': data.length }).end(data);
      }
    });
  }

  async listen(): Promise<string> {
    await new Promise<void>((resolve) => {
      this.#server.listen(0, '127.0.0.1', resolve);
    });
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  put(...blobs: readonly Blob[]): void {
    for (const { digest, data } of blobs) this.#blobs.set(digest, data);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => {
      this.#server.close(resolve);
    });
  }
}

const registry = new OneDocument();
let host = '';
let store: Store;
before(async () => {
  host = await registry.listen();
  registry.put(good.config, goodLayer.blob, good.manifest);
  store = await Store.open();
});
after(async () => {
  await store[Symbol.asyncDispose]();
  await registry[Symbol.asyncDispose]();
});

const json = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));
const edited = (change: Json): Buffer => json({ ...manifestJson, ...change });
const [config, first] = [manifestJson.config as Json, (manifestJson.layers as Json[])[0]!];
const withLayer = (change: Json): Buffer => edited({ layers: [{ ...first, ...change }] });
const withConfig = (change: Json): Buffer => edited({ config: { ...config, ...change } });
/** An image whose config document is this one. */
function configured(change: Json | Buffer): Buffer {
  const made = blob(Buffer.isBuffer(change) ? change : json({ ...configJson, ...change }));
  registry.put(made);
  return withConfig({ digest: made.digest, size: made.data.length });
}
const inner = (change: Json): Buffer => configured({ config: { ...(configJson.config as Json), ...change } });
const descriptor = ({ manifest }: Pick<BuiltImage, 'manifest'>, change: Json = {}): Json => ({
  mediaType: ociManifest,
  digest: manifest.digest,
  size: manifest.data.length,
  platform: { os: 'linux', architecture: 'amd64' },
  ...change,
});
const indexOf = (...manifests: unknown[]): Buffer => json({ schemaVersion: 2, mediaType: ociIndex, manifests });

/** Indexes, one in the other, around the good image. */
function nested(indexes: number): Buffer {
  let data = indexOf(descriptor(good));
  for (let depth = 1; depth < indexes; depth++) {
    const made = blob(data);
    registry.put(made);
    data = indexOf({ ...descriptor(good), mediaType: ociIndex, digest: made.digest, size: made.data.length });
  }
  return data;
}

/** The manifest of an image that is as the good one but for its config. */
function configuredImage(change: Json): Pick<BuiltImage, 'manifest'> {
  const manifest = blob(configured(change));
  registry.put(manifest);
  return { manifest };
}

/** Three levels of indexes with eight entries each: 512 images to look into, were there no bound. */
function wide(): Buffer {
  const foreign = configuredImage({ architecture: 's390x' });
  let entries = Array.from({ length: 8 }, (_, i) =>
    descriptor(foreign, { platform: undefined, annotations: { i: `${i}` } }),
  );
  for (let level = 0; level < 2; level++) {
    entries = entries.map((_, i) => {
      const made = blob(indexOf(...entries, { ...entries[0], annotations: { level: `${level} ${i}` } }));
      registry.put(made);
      return descriptor(good, {
        mediaType: ociIndex,
        platform: undefined,
        digest: made.digest,
        size: made.data.length,
      });
    });
  }
  return indexOf(...entries);
}

type Case = {
  readonly data: () => Buffer;
  readonly type?: string;
  /** Absent: it is an image all the same. */
  readonly kind?: FaultKind | readonly FaultKind[];
};
const bad = (data: () => Buffer, kind: Case['kind'] = 'InvalidArgument', type = ociManifest): Case => ({
  data,
  kind,
  type,
});
const fine = (data: () => Buffer): Case => ({ data });

const cases: Readonly<Record<string, Case>> = {
  'nothing at all': bad(() => Buffer.alloc(0)),
  'no JSON': bad(() => Buffer.from('<html>')),
  'half of a document': bad(() => good.manifest.data.subarray(0, 100)),
  'invalid UTF-8': bad(() => Buffer.concat([good.manifest.data, Buffer.from([0xff])])),
  'a byte order mark': fine(() => Buffer.concat([Buffer.from('\ufeff'), good.manifest.data])),
  'a list': bad(() => json([manifestJson])),
  'a string': bad(() => json('manifest')),
  null: bad(() => json(null)),
  'a number': bad(() => Buffer.from('1e999')),
  '5 MB of blanks around it': bad(
    () => Buffer.concat([Buffer.alloc(5e6, ' '), good.manifest.data]),
    'ResourceExhausted',
  ),
  'lists in lists, 200,000 deep': bad(() => Buffer.from(`{"schemaVersion":2,"layers":${'['.repeat(200_000)}`)),
  'objects in objects, 50,000 deep': bad(() => edited({ layers: undefined, x: 1 }).subarray(0, -1)),
  'schema 1': bad(() => json({ schemaVersion: 1, fsLayers: [], history: [] }), 'Unimplemented'),
  'schema 3': bad(() => edited({ schemaVersion: 3 })),
  'a schema that is a string': bad(() => edited({ schemaVersion: '2' })),
  'layers and manifests both': bad(() => edited({ manifests: [descriptor(good)] })),
  'neither layers nor manifests': bad(() => json({ schemaVersion: 2 })),
  'another media type than its header': bad(() => edited({ mediaType: ociIndex })),
  'the header of an index': bad(() => edited({ mediaType: undefined }), 'InvalidArgument', ociIndex),
  'a media type that is a list': fine(() => edited({ mediaType: [ociManifest] })),
  'an artifact': bad(
    () => edited({ mediaType: 'application/vnd.example.thing' }),
    'Unimplemented',
    'application/vnd.example.thing',
  ),
  'a layer that is none': fine(() => withLayer({ mediaType: 'application/vnd.example.chart' })),
  'an encrypted layer': bad(
    () => withLayer({ mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip+encrypted' }),
    'Unimplemented',
  ),
  'no config': bad(() => edited({ config: undefined })),
  'a config that is a string': bad(() => edited({ config: zeros })),
  'the config of another image': bad(() => withConfig({ digest: zeros }), 'NotFound'),
  'a config larger than the limit': bad(() => withConfig({ size: 9e6 }), 'ResourceExhausted'),
  'a config shorter than it says': bad(() => withConfig({ size: good.config.data.length + 1 }), 'DataLoss'),
  'a config longer than it says': bad(() => withConfig({ size: 10 }), 'ResourceExhausted'),
  'layers that are an object': bad(() => edited({ layers: { 0: first } })),
  'a layer that is null': bad(() => edited({ layers: [null] })),
  'a layer without size': bad(() => withLayer({ size: undefined })),
  'a negative size': bad(() => withLayer({ size: -1 })),
  'a size with a fraction': bad(() => withLayer({ size: 1.5 })),
  'a size beyond integers': bad(() => withLayer({ size: 2 ** 60 })),
  'a size that is a string': bad(() => withLayer({ size: '12' })),
  'a layer shorter than it says': bad(() => withLayer({ size: goodLayer.blob.data.length + 1 }), 'Unavailable'),
  'a layer longer than it says': bad(() => withLayer({ size: 3 }), 'DataLoss'),
  'an empty digest': bad(() => withLayer({ digest: '' })),
  'a digest that is a path': bad(() => withLayer({ digest: 'sha256:../../../etc/passwd' })),
  'a digest that ends in a path': bad(() => withLayer({ digest: `sha256:${'a'.repeat(58)}/../..` })),
  'a digest in capitals': bad(() => withLayer({ digest: goodLayer.blob.digest.toUpperCase() })),
  'a digest of another kind': bad(() => withLayer({ digest: `md5:${'a'.repeat(32)}` })),
  'a digest with a newline': bad(() => withLayer({ digest: `${goodLayer.blob.digest}\n` })),
  'a digest of megabytes': bad(() => withLayer({ digest: `sha256:${'a'.repeat(3e6)}` })),
  'a layer that is not there': bad(() => withLayer({ digest: zeros }), 'NotFound'),
  'more layers than the config': bad(() => edited({ layers: [first, first] })),
  'no layers, the config has one': bad(() => edited({ layers: [] })),
  '501 layers': bad(() => edited({ layers: Array(501).fill(first) })),
  'the key __proto__': fine(() =>
    Buffer.from(good.manifest.data.toString().replace('{', '{"__proto__":{"layers":[],"schemaVersion":1},')),
  ),
  'a layer with the key constructor': fine(() => withLayer({ constructor: { prototype: 1 } })),
  'a key twice: the last one counts': bad(() =>
    Buffer.from(good.manifest.data.toString().replace(/\}$/, ',"layers":[]}')),
  ),
  'an empty index': bad(() => indexOf(), 'NotFound', ociIndex),
  'an index of other systems': bad(
    () => indexOf(descriptor(good, { platform: { os: 'plan9', architecture: 'mips' } })),
    'NotFound',
    ociIndex,
  ),
  'an index of attestations': bad(
    () => indexOf(descriptor(good, { platform: { os: 'unknown', architecture: 'unknown' } })),
    'NotFound',
    ociIndex,
  ),
  'an index with null in it': bad(() => indexOf(null), 'InvalidArgument', ociIndex),
  'an index of an image that is not there': bad(
    () => indexOf(descriptor(good, { digest: zeros })),
    'NotFound',
    ociIndex,
  ),
  'an index of a layer': bad(
    () => indexOf(descriptor(good, { digest: goodLayer.blob.digest })),
    'InvalidArgument',
    ociIndex,
  ),
  'indexes ten deep': bad(() => nested(10), 'InvalidArgument', ociIndex),
  'an index inside an index': { ...fine(() => nested(2)), type: ociIndex },
  'an index whose first entry says nothing and is for another system': {
    ...fine(() => {
      const foreign = configuredImage({ architecture: 's390x' });
      return indexOf(descriptor(foreign, { platform: undefined }), descriptor(good, { platform: undefined }));
    }),
    type: ociIndex,
  },
  'an index of nothing but a foreign image that does not say so': bad(
    () => indexOf(descriptor(configuredImage({ architecture: 's390x' }), { platform: undefined })),
    'FailedPrecondition',
    ociIndex,
  ),
  'an index of a hundred images that say nothing': bad(
    () => indexOf(...Array(100).fill(descriptor(configuredImage({ architecture: 's390x' }), { platform: undefined }))),
    'FailedPrecondition',
    ociIndex,
  ),
  'indexes that each name eight indexes that say nothing': bad(wide, 'FailedPrecondition', ociIndex),
  'an index of 10,001 images': bad(
    () => indexOf(...Array(10_001).fill({ digest: zeros, size: 1 })),
    'InvalidArgument',
    ociIndex,
  ),
  'a config that is no JSON': bad(() => configured(Buffer.from('nonsense'))),
  'a config that is a list': bad(() => configured(json([]))),
  'a config without rootfs': bad(() => configured({ rootfs: undefined })),
  'a rootfs that is no layers': bad(() => configured({ rootfs: { type: 'windows', diff_ids: [] } })),
  'diff ids that are numbers': bad(() => configured({ rootfs: { type: 'layers', diff_ids: [1] } })),
  'a diff id that is a path': bad(() => configured({ rootfs: { type: 'layers', diff_ids: ['sha256:../x'] } })),
  'a diff id of something else': bad(() => configured({ rootfs: { type: 'layers', diff_ids: [zeros] } }), 'DataLoss'),
  'another system': bad(() => configured({ os: 'windows' }), 'FailedPrecondition'),
  'an environment that is a string': bad(() => inner({ Env: 'PATH=/' })),
  'a command of numbers': bad(() => inner({ Cmd: [1, 2] })),
  'labels under __proto__': fine(() =>
    configured(Buffer.from(json(configJson).toString().replace('"Env"', '"Labels":{"__proto__":"x","a":"b"},"Env"'))),
  ),
  'labels that are numbers': fine(() => inner({ Labels: { a: 1 } })),
  'labels that are a list': bad(() => inner({ Labels: ['a'] })),
  'settings that are a list': bad(() => configured({ config: [] })),
  'no settings': fine(() => configured({ config: null })),
  'a user of megabytes': bad(() => inner({ User: 'u'.repeat(7 << 20) })),
  'a user that is a number': bad(() => inner({ User: 1000 })),
  'a user from 2^63 on': bad(() => inner({ User: '9223372036854775808' })),
  'a group from 2^63 on': bad(() => inner({ User: 'www:9223372036854775808' })),
  'a user of (uid_t)-1': bad(() => inner({ User: '4294967295' })),
  'the highest user and group': fine(() => inner({ User: '4294967294:4294967294' })),
  'a volume of megabytes': bad(() => inner({ Volumes: { [`/${'v'.repeat(1e6)}`]: {} } })),
  '20,000 volumes': bad(() =>
    inner({ Volumes: Object.fromEntries(Array.from({ length: 20_000 }, (_, i) => [`/v${i}`, {}])) }),
  ),
  '1,000 volumes': fine(() =>
    inner({ Volumes: Object.fromEntries(Array.from({ length: 1000 }, (_, i) => [`/v${i}`, {}])) }),
  ),
  'an environment of megabytes': bad(() => inner({ Env: Array(20).fill(`A=${'x'.repeat(100_000)}`) })),
  'a label of a megabyte, as build tools write them': fine(() =>
    inner({ Labels: { 'build.metadata': 'x'.repeat(1e6) } }),
  ),
  'an architecture of megabytes': bad(() => configured({ architecture: 'a'.repeat(5e6) })),
  'a system of megabytes': bad(() => configured({ os: 'o'.repeat(5e6) })),
  'an index whose platforms are megabytes': bad(
    () => indexOf(descriptor(good, { platform: { os: 'o'.repeat(3e6), architecture: 'x' } })),
    'NotFound',
    ociIndex,
  ),
};

for (const [name, { data, type = ociManifest, kind }] of Object.entries(cases)) {
  test(`instead of an image: ${name}`, async () => {
    registry.document = data();
    registry.type = type;
    for (const { id } of store.images.list()) await store.images.remove(id, () => false); // of a case that failed
    const before_ = process.memoryUsage().rss;
    const pull = store.pull(`${host}/app:v1`);
    if (kind) {
      await assert.rejects(pull, (error: Error) => {
        assert.ok(error instanceof Fault && [kind].flat().includes(error.kind), `${error.stack}`);
        assert.ok(error.message.length < 4096, 'the message is as long as the document');
        assert.doesNotMatch(error.message, /[\x00-\x1f\x7f]/);
        return true;
      });
    } else {
      const { id } = await pull;
      assert.equal(({} as Json).layers, undefined);
      await store.images.remove(id, () => false);
    }
    assert.deepEqual(store.leftovers(), []);
    assert.ok(process.memoryUsage().rss - before_ < 64 * 2 ** 20, 'memory grew');
  });
}
