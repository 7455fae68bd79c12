// Archives that try to reach outside their root, or to be what no archive is. A tripwire stands outside.
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { ownHost } from '../harness/own-host.ts';
import { blob, image, layer, sha256, writeLayout } from '../registry/images.ts';
import { Store } from '../registry/store.ts';
import { dir, file, hardlink, header, type Member, paxRecord, symlink, tar } from '../registry/tar.ts';
import { describeTree } from '../registry/tree.ts';

await ownHost();

let work = '';
before(() => {
  work = mkdtempSync(join(tmpdir(), 'berth-escape-'));
});
after(() => rmSync(work, { recursive: true }));

const limits = { maxBytes: 50_000_000, maxEntries: 20_000 };
/** No file system of a test keeps so many for one file: ext4 a block of them, others some 64 KiB. */
const longAttributes = Object.fromEntries(
  ['a', 'b', 'c', 'd'].map((name) => [`SCHILY.xattr.trusted.${name}`, name.repeat(60_000)]),
);

/** Loads an image of these layers, and watches a directory outside meanwhile. */
async function load(
  content: Buffer[],
  see: (root: string, store: Store) => Promise<void> | void = () => {},
): Promise<void> {
  const outside = join(work, 'outside');
  mkdirSync(outside, { recursive: true });
  writeFileSync(join(outside, 'tripwire'), 'untouched');
  const before_ = JSON.stringify(describeTree(outside));
  const layout = mkdtempSync(join(work, 'layout-'));
  writeLayout(layout, { app: image(content.map((item) => layer(item))) });
  await using store = await Store.open({ limits, maxParallelLayers: 1 });
  try {
    const [loaded] = await store.images.load(layout);
    await see(await store.mount(loaded!.id), store);
  } catch (error) {
    assert.deepEqual(store.leftovers(), [], 'a refused image leaves nothing');
    throw error;
  } finally {
    assert.equal(JSON.stringify(describeTree(outside)), before_, 'the tripwire was touched');
    rmSync(layout, { recursive: true });
  }
}

const up = '../'.repeat(20);
const outsidePath = () => join(work, 'outside');

for (const { name, members, expect } of [
  { name: 'a name with ..', members: () => [file(`${up}${outsidePath()}/tripwire`, 'gone')] },
  { name: 'an absolute name', members: () => [file(`${outsidePath()}/tripwire`, 'gone')] },
  {
    name: 'a file through an absolute link',
    members: () => [symlink('out', outsidePath()), file('out/tripwire', 'gone')],
  },
  {
    name: 'a file through a relative link',
    members: () => [symlink('out', `${up}${outsidePath()}`), file('out/tripwire', 'gone')],
  },
  {
    name: 'a file through a chain of links',
    members: () => [
      symlink('a', '..'),
      symlink('b', 'a/..'),
      symlink('c', `b/../..${outsidePath()}`),
      file('c/tripwire', 'gone'),
    ],
  },
  {
    name: 'a file over a link',
    members: () => [symlink('t', `${outsidePath()}/tripwire`), file('t', 'gone')],
    expect: 't',
  },
  {
    name: 'a directory over a link',
    members: () => [symlink('d', outsidePath()), dir('d', { mode: 0 }), file('d/tripwire', 'gone')],
  },
  { name: 'a hard link to outside', members: () => [hardlink('h', `${up}${outsidePath()}/tripwire`)], refused: true },
  {
    name: 'a hard link through a link, then written',
    members: () => [symlink('out', outsidePath()), hardlink('h', 'out/tripwire'), file('h', 'gone')],
    refused: true,
  },
  {
    name: 'a hard link to a link, then written',
    members: () => [symlink('s', `${outsidePath()}/tripwire`), hardlink('h', 's'), file('h', 'gone')],
    expect: 'h',
  },
  { name: 'a whiteout through a link', members: () => [symlink('out', outsidePath()), file('out/.wh.tripwire')] },
  { name: 'an opaque marker through a link', members: () => [symlink('out', outsidePath()), file('out/.wh..wh..opq')] },
  {
    name: 'a device through a link',
    members: () => [symlink('out', outsidePath()), { name: 'out/null', type: '3', major: 1, minor: 3 }],
  },
  { name: 'a link that loops', members: () => [symlink('l', 'l'), file('l/x', 'x')], refused: true },
  { name: 'links that loop', members: () => [symlink('a', 'b'), symlink('b', 'a'), file('a/x', 'x')], refused: true },
] as { name: string; members: () => (Member | Buffer)[]; expect?: string; refused?: boolean }[]) {
  test(`${name} stays inside`, async () => {
    await load([tar(...members())], (root) => {
      if (expect) assert.equal(readFileSync(join(root, expect), 'utf8'), 'gone');
    }).catch((error: unknown) => {
      assert.ok(error instanceof Error && error.name === 'Fault', String(error));
    });
  });
}

test('a link of one layer does not lead another layer out', async () => {
  await load([tar(symlink('out', outsidePath())), tar(file('out/tripwire', 'gone'), file('out/.wh.x'))]);
  await load([tar(symlink('out', outsidePath())), tar(hardlink('h', 'out/tripwire'))]).catch((error: Error) => {
    assert.equal(error.name, 'Fault');
  });
});

const raw = (member: Member, patch: (block: Buffer) => void): Buffer =>
  Buffer.concat([header({ ...member, patch }, 0), Buffer.alloc(1024)]);
const pax = (...records: Buffer[]): Buffer => {
  const data = Buffer.concat(records);
  const padded = Buffer.concat([data, Buffer.alloc((512 - (data.length % 512)) % 512)]);
  return Buffer.concat([header({ name: 'x', type: 'x' }, data.length), padded]);
};

for (const { name, content, message } of [
  { name: 'ends inside a header', content: tar(file('a', 'x')).subarray(0, 400), message: /middle of a member/ },
  { name: 'ends inside a file', content: header(file('a'), 100_000), message: /middle of a member/ },
  { name: 'ends after an extended header', content: pax(paxRecord('path', 'x')), message: /middle of a member/ },
  {
    name: 'has a wrong checksum',
    content: Buffer.concat([header(file('a'), 0).fill(0x41, 0, 1), Buffer.alloc(1024)]),
    message: /checksum/,
  },
  { name: 'has a negative size', content: raw(file('a'), (block) => block.fill(0xff, 124, 136)), message: /size -1/ },
  {
    name: 'has a size beyond numbers',
    content: raw(file('a'), (block) => block.fill(0x7f, 125, 136).fill(0x80, 124, 125)),
    message: /out of range/,
  },
  {
    name: 'has a mode that is no number',
    content: raw(file('a'), (block) => block.write('9x', 100)),
    message: /mode .* is not a number/,
  },
  { name: 'has an unknown type', content: tar({ name: 'a', type: 'Q' }), message: /unknown type "Q"/ },
  {
    name: 'has an owner beyond 32 bits',
    content: tar(file('a', '', { pax: { uid: '4294967295' } })),
    message: /owner 4294967295/,
  },
  {
    name: 'has a negative owner',
    content: tar(file('a', '', { pax: { uid: '-1' } })),
    message: /owner -1:0, out of range/,
  },
  {
    name: 'has an extended record without an end',
    content: tar(pax(Buffer.from('99 path=x\n')), file('a')),
    message: /impossible length/,
  },
  {
    name: 'has an extended record of length 0',
    content: tar(pax(Buffer.from('0 path=x\n')), file('a')),
    message: /impossible length/,
  },
  { name: 'has a NUL in an extended name', content: tar(file('a', '', { pax: { path: 'a\0b' } })), message: /NUL/ },
  {
    name: 'has a name longer than a path',
    content: tar(file('a', '', { pax: { path: 'x/'.repeat(30_000) } })),
    message: /name this host cannot hold/,
  },
  {
    name: 'has a file capability that is none',
    content: tar(file('a', '', { pax: { 'SCHILY.xattr.security.capability': 'nonsense' } })),
    message: /entry the kernel refuses: EINVAL/,
  },
  {
    name: 'has an attribute longer than the kernel takes',
    content: tar(file('a', '', { pax: { 'SCHILY.xattr.user.long': 'x'.repeat(70_000) } })),
    message: /attributes that are too large for this file system: E2BIG/,
  },
  ...[file('a', 'x'), dir('a'), symlink('a', 'x')].map((member) => ({
    name: `has more of them than the file system takes for a ${{ '5': 'directory', '2': 'link' }[member.type ?? ''] ?? 'file'}`,
    content: tar({ ...member, pax: longAttributes }),
    message: /attributes that are too large for this file system: E2BIG/,
  })),
  {
    name: 'has a component longer than a name',
    content: tar(file('a', '', { pax: { path: 'x'.repeat(300) } })),
    message: /name this host cannot hold/,
  },
  {
    name: 'has an extended header of megabytes',
    content: Buffer.concat([header({ name: 'x', type: 'x' }, 2 ** 21), Buffer.alloc(2 ** 21)]),
    message: /longer than 1048576/,
  },
  { name: 'uses a file as a directory', content: tar(file('a', 'x'), file('a/b', 'y')), message: /it is a file/ },
  { name: 'links to a directory', content: tar(dir('d'), hardlink('a', 'd')), message: /link to "d", a directory/ },
  {
    name: 'links to a directory that comes later',
    content: tar(hardlink('a', 'd'), dir('d'), file('d/.wh..wh..opq')),
    message: /link to "d", which is not there/,
  },
  {
    name: 'links to what it removes',
    content: tar(file('.wh.x'), hardlink('a', 'x')),
    message: /link to "x", which is not there/,
  },
  { name: 'links to its root', content: tar(hardlink('a', '.')), message: /link to "", a directory/ },
  { name: 'links to nothing', content: tar(hardlink('a', 'none')), message: /which is not there/ },
  { name: 'removes the parent', content: tar(file('d/.wh...')), message: /removes nothing/ },
  {
    name: 'has a sparse map that leaves its file',
    content: tar(file('a', 'xxxx', { pax: { 'GNU.sparse.map': '0,4', 'GNU.sparse.size': '2' } })),
    message: /leaves its file/,
  },
  {
    name: 'has a sparse map that does not add up',
    content: tar(file('a', 'xxxx', { pax: { 'GNU.sparse.map': '0,2', 'GNU.sparse.size': '9' } })),
    message: /stores 2 bytes/,
  },
  {
    name: 'unpacks to more than the limit',
    content: tar(file('a', Buffer.alloc(50_000_001))),
    message: /more than 50000000 bytes/,
  },
  {
    name: 'has more entries than the limit',
    content: tar(...Array.from({ length: 20_001 }, (_, i) => file(`f${i % 7}`))),
    message: /more than 20000 entries/,
  },
]) {
  test(`a layer that ${name} is refused`, async () => {
    await assert.rejects(load([content]), (error: Error) => {
      assert.equal(error.name, 'Fault', String(error.stack));
      assert.match(error.message, message);
      return true;
    });
  });
}

for (const { name, members, message } of [
  {
    name: 'removes a lower file and links to it',
    members: [file('d/.wh.x'), hardlink('a', 'd/x')],
    message: /"a" is a link to "d\/x", which the layer removes/,
  },
  {
    name: 'removes what is in a lower directory and links to it',
    members: [file('d/.wh..wh..opq'), hardlink('a', 'd/x')],
    message: /"a" is a link to "d\/x", which is not there/,
  },
  {
    name: 'links to a lower file from a name that is a directory',
    members: [hardlink('n', 'n/x')],
    message: /entries that contradict each other: ENOENT.*link "n"/,
  },
  {
    name: 'links to a lower file from behind links that loop',
    members: [symlink('n', 'n'), hardlink('n/a', 'd/x')],
    message: /"n" goes through too many symbolic links/,
  },
]) {
  test(`a layer that ${name} is refused`, async () => {
    const lower = tar(dir('d'), file('d/x', 'lower'), dir('n'), file('n/x', 'lower'));
    await assert.rejects(load([lower, tar(...members)]), { name: 'Fault', kind: 'InvalidArgument', message });
  });
}

test('a root that is said to be no directory is passed over, as with containerd', async () => {
  const members = [
    dir('.', { mode: 0o711 }),
    file('a', 'x'),
    file('./', 'y'),
    file('..', Buffer.alloc(200_000, 'z')),
    symlink('/', '/etc'),
    hardlink('.', 'a'),
    { name: './', type: '6' },
    { name: '.', type: '3', major: 1, minor: 3 },
    file('b', 'x'),
  ];
  const doubtful = [...members, hardlink('c', 'lower')]; // so that it is unpacked in order
  await load([tar(file('lower', 'x')), tar(...doubtful)], (root) => {
    const tree = describeTree(root);
    assert.deepEqual(
      Object.keys(tree)
        .filter((name) => name !== '')
        .sort(),
      ['a', 'b', 'c', 'lower'],
    );
    assert.equal(statSync(root).mode & 0o7777, 0o711);
  });
  await load([tar(...members)], (root) => assert.deepEqual(readdirSync(root).sort(), ['a', 'b']));
});

test('a blob that is cut off, or damaged, is refused', async () => {
  const content = tar(file('a', Buffer.alloc(100_000, 'abc')));
  const good = layer(content);
  const cut = good.blob.data.subarray(0, 150);
  const flipped = Buffer.from(good.blob.data);
  flipped[flipped.length - 6]! ^= 1; // the checksum at gzip's end
  for (const data of [
    cut,
    flipped,
    Buffer.concat([good.blob.data, Buffer.from('more')]),
    gzipSync(tar(file('a', 'other'))),
  ]) {
    for (const digest of [good.blob.digest, sha256(data)]) {
      const layout = mkdtempSync(join(work, 'layout-'));
      const broken = { ...good, blob: { digest, data } };
      const wholeDigest = digest === sha256(data) && data.subarray(-4).toString() === 'more';
      writeLayout(layout, { app: image([broken]) });
      await using store = await Store.open();
      const loading = store.images.load(layout);
      // With its own digest right and only zeros or rubbish behind the gzip, the layer is still what the config says.
      if (wholeDigest) await loading.catch((error: Error) => assert.equal(error.name, 'Fault'));
      else {
        await assert.rejects(loading, { kind: 'DataLoss' });
        assert.deepEqual(store.leftovers(), []);
      }
    }
  }
});

test('hundreds of directories inside each other, and a file at the end', async () => {
  const deep = 'd/'.repeat(900);
  await load([tar(file(`${deep}end`, 'x')), tar(file(`${deep}end`, 'y'))], (root) => {
    assert.equal(readFileSync(join(root, deep, 'end'), 'utf8'), 'y');
  });
});

test('one that hides everything below hides the whole root', async () => {
  await load([tar(dir('etc'), file('etc/a')), tar(file('.wh..wh..opq'), file('b'))], (root) => {
    assert.deepEqual(readdirSync(root), ['b']);
  });
});

test('a 0:0 device in a layer is a whiteout to overlayfs, and listed nowhere', async () => {
  const device = (name: string): Member => ({ name, type: '3', major: 0, minor: 0 });
  await load([tar(file('a'), file('b')), tar(device('a'), dir('new'), device('new/x'))], (root) => {
    assert.deepEqual(readdirSync(root), ['b', 'new']);
    assert.deepEqual(readdirSync(join(root, 'new')), []);
  });
});

test('an image whose layers are many', async () => {
  const layers = Array.from({ length: 130 }, (_, i) => tar(file(`f${i}`, String(i)), file('same', String(i))));
  await load(layers, (root) => {
    assert.equal(readdirSync(root).length, 131);
    assert.equal(readFileSync(join(root, 'same'), 'utf8'), '129');
    assert.ok(statSync(join(root, 'f0')));
  });
});

test('the same bytes under two digests in one manifest are checked both times', async () => {
  const good = layer(tar(file('a')));
  const layout = mkdtempSync(join(work, 'layout-'));
  const lying = { ...good, diffId: blob('something else').digest };
  writeLayout(layout, { app: image([good, lying]) });
  await using store = await Store.open();
  await assert.rejects(store.images.load(layout), { kind: 'DataLoss' });
  assert.deepEqual(store.leftovers(), []);
});
