// What a manifest is that lists no layers, or others beside them.
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { artifactTypeOf, filesOf } from '../../../src/image/artifact.ts';
import { parseManifest } from '../../../src/image/manifest.ts';
import {
  artifact,
  type BuiltImage,
  blob,
  emptyType as empty,
  image,
  layer,
  ociManifest,
  sha256,
  namedText as text,
  writeLayout,
} from '../../registry/images.ts';
import { Store } from '../../registry/store.ts';
import { file, tar } from '../../registry/tar.ts';

const folder = mkdtempSync(join(tmpdir(), 'berth-artifact-units-'));
after(() => rmSync(folder, { recursive: true }));
let serial = 0;
const [uid, gid] = [process.getuid!(), process.getgid!()];
const forever = new AbortController().signal;
const never = () => false;

const wasm = 'application/vnd.wasm.content.layer.v1+wasm';
const tarType = 'application/vnd.oci.image.layer.v1.tar';
const imageConfig = 'application/vnd.oci.image.config.v1+json';
const layout = (built: BuiltImage, name = 'r/a:1'): string => {
  const path = join(folder, `layout-${serial++}`);
  writeLayout(path, { [name]: built });
  return path;
};

describe('a manifest is of', () => {
  const tarLayer = { mediaType: `${tarType}+gzip`, digest: sha256('a'), size: 1 };
  const module = { mediaType: wasm, digest: sha256('b'), size: 1 };
  const cases: Record<string, [config: string, layers: object[], more: object, type: string | null]> = {
    'an image': [imageConfig, [tarLayer], {}, null],
    'an image with a module': [imageConfig, [tarLayer, module], {}, null],
    'an image without layers': [imageConfig, [], {}, null],
    'an image that says what it is about': [imageConfig, [tarLayer], { artifactType: 'x/y' }, null],
    'an image whose config an old registry served': ['application/octet-stream', [tarLayer], {}, null],
    'an artifact by its config': [
      'application/vnd.cncf.helm.config.v1+json',
      [tarLayer],
      {},
      'application/vnd.cncf.helm.config.v1+json',
    ],
    'an artifact by its empty config, of files that ORAS calls tars': [
      empty,
      [tarLayer],
      { artifactType: 'x/y' },
      'x/y',
    ],
    'an artifact by its layers': [imageConfig, [module], {}, wasm],
    'an artifact with a type that is no text': [empty, [module], { artifactType: 'a\nb' }, 'a?b'],
  };
  for (const [name, [mediaType, layers, more, type]] of Object.entries(cases)) {
    test(name, () => {
      const config = { mediaType, digest: sha256('c'), size: 2 };
      const parsed = parseManifest(
        Buffer.from(JSON.stringify({ schemaVersion: 2, config, layers, ...more })),
        ociManifest,
      );
      assert.equal(parsed.kind === 'manifest' && artifactTypeOf(parsed), type);
    });
  }
});

test('names of files: their titles inside the root; else their digests', () => {
  const titles: [title: string, file: string | null][] = [
    ['model.bin', 'model.bin'],
    ['dir/deep/file', 'dir/deep/file'],
    ['/etc/passwd', 'etc/passwd'],
    ['../../up', 'up'],
    ['./a//b/../c', 'a/c'],
    ['', null],
    ['..', null],
    ['model.bin', null],
    ['dir/deep', null],
    ['model.bin/inside', null],
    ['.wh.up', null],
    ['x/.wh..wh..opq', null],
    ['nul\0', null],
    ['line\nfeed', null],
    ['x'.repeat(256), null],
    ['é'.repeat(127), Buffer.from('é'.repeat(127)).toString('latin1')],
    [`${'d/'.repeat(600)}f`, null],
    ['__proto__', '__proto__'],
  ];
  const listed = titles.map(([title], index) => ({
    mediaType: 'x',
    digest: sha256(`${index}`) as never,
    size: 1,
    title,
  }));
  assert.deepEqual(
    filesOf(listed).map(({ file: name }) => name),
    titles.map(([, name], index) => name ?? sha256(`${index}`).replace(':', '-')),
  );
  const twice = [listed[5]!, listed[5]!, { ...listed[0]!, mediaType: empty, title: '' }];
  assert.equal(filesOf(twice).length, 1, 'the same blob again, and what stands for no blob');
  const keys = filesOf([listed[0]!, { ...listed[0]!, title: 'other' }]).map(({ diffId }) => diffId);
  assert.notEqual(keys[0], keys[1]);
});

describe('an artifact', () => {
  test('is loaded: found, listed, with its files in a tree; and goes as a whole', async () => {
    await using store = await Store.open({ maxParallelLayers: 1 });
    const built = artifact([text('weights', 'model/w.bin'), text('plain'), text('read', 'README')]);
    const [loaded] = await store.images.load(layout(built));
    assert.equal(loaded!.id, built.manifest.digest);
    assert.equal(loaded!.artifactType, 'application/vnd.example.thing');
    assert.equal(loaded!.size, 'weightsplainread'.length + built.manifest.data.length);
    assert.deepEqual(await store.images.document(loaded!), built.manifest.data);
    assert.equal(store.images.find('r/a:1')?.id, loaded!.id);
    const found = new Map<string, string>();
    for (const place of store.snapshots.lowerPaths(loaded!.layers.at(-1)!)) {
      for (const name of readdirSync(place, { recursive: true, encoding: 'utf8' }))
        if (!name.endsWith('model')) found.set(name, readFileSync(join(place, name), 'utf8'));
    }
    assert.deepEqual(Object.fromEntries(found), {
      'model/w.bin': 'weights',
      [sha256('plain').replace(':', '-')]: 'plain',
      README: 'read',
    });
    await assert.rejects(store.images.save('r/a:1', join(folder, 'saved'), forever), { kind: 'Unimplemented' });
    await store.reopen();
    assert.deepEqual(store.images.list(), [loaded]);
    await store.images.remove('r/a:1', never);
    assert.deepEqual(store.leftovers(), []);
  });

  test('of the same config as another is another; the same files under the same names are there once', async () => {
    await using store = await Store.open({ maxParallelLayers: 1 });
    const [one] = await store.images.load(layout(artifact([text('same', 'a'), text('1', 'b')]), 'r/a:1'));
    const [two] = await store.images.load(layout(artifact([text('same', 'a'), text('2', 'b')]), 'r/a:2'));
    assert.notEqual(one!.id, two!.id);
    assert.equal(one!.layers[0], two!.layers[0]);
    assert.equal(store.snapshots.list().length, 3);
    await store.images.remove('r/a:1', never);
    assert.equal(store.snapshots.list().length, 2);
  });

  test('whose blob is not what its digest says leaves nothing; nor one beyond the limits', async () => {
    await using store = await Store.open({ maxParallelLayers: 1, limits: { maxBytes: 10 } });
    const built = artifact([text('good', 'good'), text('bad', 'bad')]);
    const path = layout(built);
    writeFileSync(join(path, 'blobs', sha256('bad').replace(':', '/')), 'BAD');
    await assert.rejects(store.images.load(path), { kind: 'DataLoss' });
    assert.deepEqual(store.leftovers(), []);
    await assert.rejects(store.images.load(layout(artifact([text('12345678901', 'x')]))), {
      kind: 'ResourceExhausted',
    });
    await assert.rejects(store.images.load(layout(artifact([text('123456', 'x'), text('7890123', 'y')]))), {
      kind: 'ResourceExhausted',
    });
    assert.deepEqual(store.leftovers(), []);
  });

  test('without files is empty', async () => {
    await using store = await Store.open({ maxParallelLayers: 1 });
    const [loaded] = await store.images.load(layout(artifact([{ mediaType: empty, data: Buffer.from('{}') }])));
    assert.deepEqual(loaded!.layers, []);
  });
});

describe('an image with a module beside its layers', () => {
  const content = layer(tar(file('a', 'x', { uid, gid })));
  const module = { blob: blob('\0asm'), diffId: sha256('\0asm'), mediaType: wasm };
  for (const [how, editConfig] of Object.entries({
    'whose config counts it': () => {},
    'whose config counts layers alone': (config: Record<string, unknown>) =>
      Object.assign(config, { rootfs: { type: 'layers', diff_ids: [content.diffId] } }),
  })) {
    test(`${how} has its layers, and says what it has beside`, async () => {
      await using store = await Store.open({ maxParallelLayers: 1 });
      const notes: string[] = [];
      const built = image([module, content], { editConfig });
      const [loaded] = await store.images.load(layout(built), undefined, ({ words }) => notes.push(words));
      assert.deepEqual([loaded!.id, loaded!.layers, loaded!.artifactType], [built.config.digest, [content.diffId], '']);
      assert.deepEqual(loaded!.passedOver, [`${wasm} ${module.diffId}`]);
      assert.deepEqual(notes, [`docker.io/r/a:1: ${wasm} ${module.diffId} is no layer`]);
      const path = join(folder, `saved-${serial++}`);
      const { id } = await store.images.save('r/a:1', path, forever);
      await using other = await Store.open({ maxParallelLayers: 1 });
      assert.equal((await other.images.load(path))[0]!.id, id);
    });
  }

  test('whose config says another number is refused; so is one with a layer that cannot be read', async () => {
    await using store = await Store.open({ maxParallelLayers: 1 });
    const editConfig = (config: Record<string, unknown>) =>
      Object.assign(config, { rootfs: { type: 'layers', diff_ids: [] } });
    await assert.rejects(store.images.load(layout(image([module, content], { editConfig }))), {
      kind: 'InvalidArgument',
    });
    const secret = { ...content, mediaType: `${tarType}+encrypted` };
    await assert.rejects(store.images.load(layout(image([secret, content]))), /encrypted/);
    assert.deepEqual(store.leftovers(), []);
  });
});
