import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { mount, unmount } from '../../src/sys/mounts.ts';
import { ownHost } from '../harness/own-host.ts';
import { blob, image, layer, sha256, writeLayout } from '../registry/images.ts';
import { Store } from '../registry/store.ts';
import { dir, file, tar } from '../registry/tar.ts';

await ownHost();

const name = 'docker.io/team/app:v1';
const built = image([layer(tar(dir('etc'), file('etc/a', 'one'))), layer(tar(file('etc/a', 'two'), file('b', 'x')))]);
let work = '';
let layout = '';
before(() => {
  work = mkdtempSync(join(tmpdir(), 'berth-load-'));
  layout = join(work, 'layout');
  writeLayout(layout, { [name]: built });
});
after(() => rmSync(work, { recursive: true }));

const skopeo = (from: string, to: string) =>
  execFileSync('/usr/bin/skopeo', ['--insecure-policy', 'copy', '--quiet', from, to], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });

async function expectLoaded(store: Store, file_: string): Promise<void> {
  const [loaded, ...more] = await store.images.load(file_);
  assert.equal(more.length, 0);
  assert.equal(loaded?.id, built.config.digest);
  assert.deepEqual(loaded?.tags, [name]);
  assert.equal(store.images.find('team/app:v1')?.id, loaded?.id);
  const root = await store.mount(name);
  assert.deepEqual(readdirSync(root), ['b', 'etc']);
  assert.equal(readFileSync(join(root, 'etc/a'), 'utf8'), 'two');
}

test('an OCI layout: a directory, a tar, a compressed tar', async () => {
  const plain = join(work, 'oci.tar');
  skopeo(`oci:${layout}:${name}`, `oci-archive:${plain}:${name}`);
  writeFileSync(`${plain}.gz`, gzipSync(readFileSync(plain)));
  writeFileSync(`${plain}.zst`, zstdCompressSync(readFileSync(plain)));
  for (const path of [layout, plain, `${plain}.gz`, `${plain}.zst`]) {
    await using store = await Store.open();
    await expectLoaded(store, path);
    assert.deepEqual(readdirSync(join(store.root, 'v1')).sort(), ['documents', 'images', 'snapshots']);
  }
});

test('a docker archive, as skopeo writes it', async () => {
  const path = join(work, 'docker.tar');
  skopeo(`oci:${layout}:${name}`, `docker-archive:${path}:team/app:v1`);
  await using store = await Store.open();
  const [loaded] = await store.images.load(path);
  assert.deepEqual(loaded?.tags, [name]);
  assert.deepEqual(loaded?.digests, []);
  const root = await store.mount(name);
  assert.equal(readFileSync(join(root, 'etc/a'), 'utf8'), 'two');
});

test('a docker archive whose repeated layer is a symbolic link, as older docker save has it', async () => {
  const content = tar(file('a', 'x'));
  const config = JSON.stringify({
    os: 'linux',
    rootfs: { type: 'layers', diff_ids: [sha256(content), sha256(content)] },
  });
  const path = join(work, 'old.tar');
  const manifest = [{ Config: 'c.json', RepoTags: ['app:1'], Layers: ['1/layer.tar', '2/layer.tar'] }];
  writeFileSync(
    path,
    tar(
      dir('1'),
      file('1/layer.tar', content),
      dir('2'),
      { name: '2/layer.tar', type: '2', link: '../1/layer.tar' },
      file('c.json', config),
      file('manifest.json', JSON.stringify(manifest)),
    ),
  );
  await using store = await Store.open();
  const [loaded] = await store.images.load(path);
  assert.equal(loaded?.layers.length, 2);
  assert.equal(store.images.find('app:1')?.id, sha256(config));
});

for (const { what, break_, message } of [
  {
    what: 'is no archive',
    break_: () => tar(file('hello', 'x')),
    message: /neither an OCI layout nor a docker archive/,
  },
  { what: 'is not even a tar', break_: () => Buffer.alloc(2048, 'x'), message: /^\/.*: it is no tar, nor one/ },
  {
    what: 'lists a config that is not there',
    break_: () => tar(file('manifest.json', '[{"Config":"none","RepoTags":null,"Layers":[]}]')),
    message: /no file "none"/,
  },
  ...[
    { what: 'has a user from 2^63 on', config: { User: '9223372036854775808' }, message: /User "9223372036854775808"/ },
    { what: 'has a user of megabytes', config: { User: 'u'.repeat(7 << 20) }, message: /at most 511/ },
  ].map(({ what, config, message }) => ({
    what,
    break_: () => {
      const document = JSON.stringify({ os: 'linux', config, rootfs: { type: 'layers', diff_ids: [] } });
      return tar(file('manifest.json', '[{"Config":"c","RepoTags":[],"Layers":[]}]'), file('c', document));
    },
    message,
  })),
  {
    what: 'has 101 tags of one image',
    break_: () => {
      const item = { Config: 'c', RepoTags: Array.from({ length: 101 }, (_, i) => `a:${i}`), Layers: [] };
      return tar(file('manifest.json', JSON.stringify([item])), file('c', '{}'));
    },
    message: /has 101 tags of one image: at most 100 are taken/,
  },
  {
    what: 'lists 1,001 images',
    break_: () => tar(file('manifest.json', JSON.stringify(Array(1001).fill({ Config: 'c', Layers: [] })))),
    message: /lists 1001 images: at most 1000 are taken/,
  },
  {
    what: 'has a layer with another digest',
    break_: () => {
      const config = JSON.stringify({ os: 'linux', rootfs: { type: 'layers', diff_ids: [sha256('other')] } });
      const manifest = JSON.stringify([{ Config: 'c', RepoTags: [], Layers: ['l'] }]);
      return tar(file('manifest.json', manifest), file('c', config), file('l', tar(file('a', 'x'))));
    },
    message: /has digest sha256:\w+, expected/,
  },
]) {
  test(`a file that ${what} is refused and leaves nothing`, async () => {
    const path = join(work, 'bad.tar');
    writeFileSync(path, break_());
    await using store = await Store.open();
    await assert.rejects(store.images.load(path), { message });
    assert.deepEqual(store.leftovers(), []);
  });
}

test('a layout whose blob is not what its name says is refused', async () => {
  const broken = join(work, 'broken');
  mkdirSync(broken);
  writeLayout(broken, { [name]: { ...built, config: { ...blob('{}'), digest: built.config.digest } } });
  await using store = await Store.open();
  await assert.rejects(store.images.load(broken), { kind: 'DataLoss' });
  assert.deepEqual(store.leftovers(), []);
});

/** An OCI layout whose index.json lists these; blobs beside those of the layout above. */
function layoutOf(
  folder: string,
  entries: readonly object[],
  blobs: readonly { digest: string; data: Buffer }[] = [],
): string {
  const path = join(work, folder);
  writeLayout(path, { [name]: built });
  for (const { digest, data } of blobs) writeFileSync(join(path, 'blobs', digest.replace(':', '/')), data);
  writeFileSync(join(path, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests: entries }));
  return path;
}
const entry = ({ digest, data }: { digest: string; data: Buffer }, tag?: string, more: object = {}) => ({
  mediaType: 'application/vnd.oci.image.manifest.v1+json',
  digest,
  size: data.length,
  ...(tag ? { annotations: { 'org.opencontainers.image.ref.name': tag } } : {}),
  ...more,
});
const artifact = (layerType: string) => {
  const content = { ...manifestOf(built), layers: [{ mediaType: layerType, digest: built.config.digest, size: 2 }] };
  return blob(Buffer.from(JSON.stringify(content)));
};
const manifestOf = ({ manifest }: typeof built) => JSON.parse(manifest.data.toString()) as object;

/** What `load` tells. */
function heard() {
  const [notes, kinds]: [string[], string[]] = [[], []];
  const take = ({ kind, words }: { kind: string; words: string }) => {
    kinds.push(kind);
    notes.push(words);
  };
  return { notes, kinds, take };
}

test('signatures and charts are artifacts; what is not for this host or cannot be read is passed over by name', async () => {
  const signature = artifact('application/vnd.dev.cosign.simplesigning.v1+json');
  const chart = artifact('application/vnd.cncf.helm.chart.content.v1.tar+gzip');
  const secret = artifact('application/vnd.oci.image.layer.v1.tar+gzip+encrypted');
  const arm = entry(built.manifest, 'docker.io/team/arm:v1', { platform: { os: 'linux', architecture: 's390x' } });
  const listed = [entry(signature, 'docker.io/team/app:sha256-x.sig'), entry(built.manifest, name), entry(chart), arm];
  const path = layoutOf('mixed', [...listed, entry(secret)], [signature, chart, secret]);
  await using store = await Store.open();
  const { notes, kinds, take } = heard();
  const loaded = await store.images.load(path, undefined, take);
  assert.deepEqual(
    loaded.map(({ tags, artifactType }) => [...tags, artifactType]),
    [
      ['docker.io/team/app:sha256-x.sig', 'application/vnd.dev.cosign.simplesigning.v1+json'],
      [name, ''],
      ['application/vnd.cncf.helm.chart.content.v1.tar+gzip'],
    ],
  );
  assert.equal(notes.length, 2);
  assert.match(notes[0]!, /team\/arm:v1: .*s390x/);
  assert.match(notes[1]!, /encrypted/);
  assert.deepEqual(kinds, ['passedOver', 'failed']); // the second one is for this host
  const nothing = layoutOf('nothing', [entry(secret)], [secret]);
  await assert.rejects(store.images.load(nothing), { kind: 'Unimplemented', message: /encrypted/ });
});

test('images that are damaged are told, and cost no other: in a layout, in a docker archive', async () => {
  const damaged = image([layer(tar(file('c', 'damaged')))]);
  const missing = { digest: sha256('missing'), data: Buffer.alloc(1) };
  const cut = { ...damaged.layers[0]!.blob, data: Buffer.from('no layer') };
  const good = entry(built.manifest, name);
  const entries = [
    { mediaType: '', digest: 'sha256:../x', size: 1 },
    entry(missing, 'docker.io/team/missing:v1'),
    entry(damaged.manifest, 'docker.io/team/damaged:v1'),
  ];
  const layout_ = layoutOf('damaged', [...entries, good], [damaged.manifest, damaged.config, cut]);
  const docker = join(work, 'damaged.tar');
  const layerTar = tar(file('a', 'x'));
  const config = (diffId: string, os = 'linux') =>
    JSON.stringify({ os, architecture: 'amd64', rootfs: { type: 'layers', diff_ids: [diffId] } });
  const item = (Config: string, tag: string) => ({ Config, RepoTags: [`team/${tag}:v1`], Layers: ['l'] });
  const list = [null, { Config: 1 }, item('none', 'none'), item('other', 'other'), item('windows', 'windows')];
  writeFileSync(
    docker,
    tar(
      file('manifest.json', JSON.stringify([...list, item('c', 'app')])),
      file('other', config(sha256('other'))),
      file('windows', config(sha256(layerTar), 'windows')),
      file('c', config(sha256(layerTar))),
      file('l', layerTar),
    ),
  );
  for (const [path, expected] of [
    [layout_, [/sha256:\.\.\/x/, /team\/missing:v1: .*no file/, /team\/damaged:v1: .*digest/]],
    [
      docker,
      [/does not describe/, /does not describe/, /team\/none:v1: .*no file/, /windows/, /team\/other:v1: .*digest/],
    ],
  ] as const) {
    await using store = await Store.open();
    const { notes, kinds, take } = heard();
    const loaded = await store.images.load(path, undefined, take);
    assert.deepEqual(
      loaded.map(({ tags }) => tags),
      [[name]],
    );
    assert.equal(notes.length, expected.length, notes.join('\n'));
    for (const [index, words] of expected.entries()) {
      assert.match(notes[index]!, words);
      assert.equal(kinds[index], /windows/.test(notes[index]!) ? 'passedOver' : 'failed');
    }
  }
});

test('of an archive of which nothing can be loaded each reason is told, of its documents and of its layers', async () => {
  const damaged = image([layer(tar(file('c', 'damaged too')))]);
  const cut = { ...damaged.layers[0]!.blob, data: Buffer.from('no layer') };
  const entries = [
    entry({ digest: sha256('gone'), data: Buffer.alloc(1) }, 'docker.io/team/missing:v1'),
    entry(damaged.manifest, 'docker.io/team/damaged:v1'),
  ];
  const path = layoutOf('all-bad', entries, [damaged.manifest, damaged.config, cut]);
  await using store = await Store.open();
  await assert.rejects(store.images.load(path), {
    kind: 'NotFound',
    message: /None of 2 images .*missing:v1: .*no file.*damaged:v1: .*digest/,
  });
  assert.deepEqual(store.leftovers(), []);
});

test('an image that is larger than one may be costs no other, and is named; a disk without room ends it all', async () => {
  const large = image([layer(tar(file('noise', randomBytes(300_000))))]);
  const path = join(work, 'large');
  mkdirSync(path);
  writeLayout(path, { 'docker.io/team/large:v1': large, [name]: built });
  {
    await using store = await Store.open({ limits: { maxBytes: 100_000 } });
    const { notes, kinds, take } = heard();
    const loaded = await store.images.load(path, undefined, take);
    assert.deepEqual(
      loaded.map(({ tags }) => tags),
      [[name]],
    );
    assert.deepEqual(kinds, ['failed']);
    assert.match(notes[0]!, /^docker\.io\/team\/large:v1: .*more than 100000 bytes/);
  }
  await using store = await Store.open();
  const snapshots = join(store.root, 'v1/snapshots');
  mount('tmpfs', snapshots, 'tmpfs', 0, 'size=100k');
  try {
    const refusal = { kind: 'ResourceExhausted', message: /^The host has no room for layer/ };
    await assert.rejects(store.images.load(path), refusal);
    assert.deepEqual(readdirSync(snapshots), []);
  } finally {
    unmount(snapshots, { detach: true });
  }
});

test('what is told of an archive is bounded: names of kilobytes, names without end', async () => {
  const long = `docker.io/team/${'n'.repeat(100_000)}:v1`;
  const listed = [entry(built.manifest, name), entry({ digest: sha256('gone'), data: Buffer.alloc(1) }, long)];
  const names = { Config: 'none.json', RepoTags: [], Layers: [] };
  const folder = layoutOf('long-names', listed);
  const bad = Array.from({ length: 100 }, (_, i) => `Not A Name ${i}`);
  const config = `blobs/${built.config.digest.replace(':', '/')}`;
  const items = Array.from({ length: 20 }, () => ({ Config: config, RepoTags: bad, Layers: [] }));
  writeFileSync(join(folder, 'manifest.json'), JSON.stringify([...items, names]));
  await using store = await Store.open();
  const { notes, kinds, take } = heard();
  await store.images.load(folder, undefined, take);
  assert.ok(notes.every((note) => note.length <= 1000));
  assert.equal(notes.length, 1002);
  assert.match(notes[1000]!, /^1000 other things/);
  assert.equal(kinds[1001], 'failed');
});

test('several platforms under one name mean the one of this host', async () => {
  const platform = (architecture: string) => ({ platform: { os: 'linux', architecture } });
  const other = artifact('application/octet-stream');
  const path = layoutOf(
    'platforms',
    [
      entry(other, name, platform('arm64')),
      entry(built.manifest, name, platform('amd64')),
      entry(other, name, platform('386')),
    ],
    [other],
  );
  await using store = await Store.open();
  await expectLoaded(store, path);
});

test('a name that is none is told, and costs neither the image nor its other names', async () => {
  const data = built.config.data;
  const path = join(work, 'bad-tag.tar');
  const contents = built.layers.map(({ blob: { data: compressed } }, i) => file(`${i}.tar`, compressed));
  const manifest = [
    { Config: 'c.json', RepoTags: ['Not A Name', 'app:1'], Layers: contents.map(({ name: own }) => own) },
  ];
  writeFileSync(path, tar(...contents, file('c.json', data), file('manifest.json', JSON.stringify(manifest))));
  await using store = await Store.open();
  const { notes, kinds, take } = heard();
  const [loaded] = await store.images.load(path, undefined, take);
  assert.deepEqual(loaded?.tags, ['docker.io/library/app:1']);
  assert.match(notes.join(), /Not A Name/);
  assert.deepEqual(kinds, ['passedOver']);
});

test('a file that is not there is named', async () => {
  await using store = await Store.open();
  for (const path of [join(work, 'none.tar'), '/dev/null/x'])
    await assert.rejects(store.images.load(path), {
      kind: 'NotFound',
      message: `Cannot load ${path}: there is no such file`,
    });
});

test('an archive whose compression is damaged, or that has no room unpacked, is told so, and leaves nothing', async () => {
  const whole = gzipSync(tar(file('noise', randomBytes(1_000_000))));
  const middle = Buffer.from(whole);
  middle.fill(0xff, 500_000, 500_100);
  await using store = await Store.open();
  const path = join(work, 'damaged.tar.gz');
  for (const damaged of [whole.subarray(0, -20), middle, zstdCompressSync(whole).subarray(0, -20)]) {
    writeFileSync(path, damaged);
    await assert.rejects(store.images.load(path), {
      kind: 'DataLoss',
      message: /damaged\.tar\.gz does not decompress/,
    });
  }
  assert.deepEqual(store.leftovers(), []);
  writeFileSync(path, whole);
  const dataDir = join(store.root, 'v1');
  mount('tmpfs', dataDir, 'tmpfs', 0, 'size=100k');
  try {
    await assert.rejects(store.images.load(path), { kind: 'ResourceExhausted', message: /has no room for .*ENOSPC/ });
    mount('tmpfs', dataDir, 'tmpfs', 32 | 1, 'size=100k'); // MS_REMOUNT, MS_RDONLY
    await assert.rejects(store.images.load(path), { kind: 'ResourceExhausted', message: /cannot write .*EROFS/ });
    assert.deepEqual(readdirSync(dataDir), []);
  } finally {
    unmount(dataDir, { detach: true });
  }
});

test('what is compressed in a way that is not read is refused by its name', async () => {
  const xz = Buffer.from('fd377a585a000004', 'hex');
  const lz4 = Buffer.from('04224d1864400000', 'hex');
  await using store = await Store.open();
  for (const [how, begin] of Object.entries({ xz, lz4, bzip2: Buffer.from('BZh91AY&SY....') })) {
    const path = join(work, `archive.${how}`);
    writeFileSync(path, Buffer.concat([begin, Buffer.alloc(1024)]));
    await assert.rejects(store.images.load(path), { kind: 'Unimplemented', message: new RegExp(`${how}.*${how} -d`) });
  }
  assert.deepEqual(store.leftovers(), []);
});
