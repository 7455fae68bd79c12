// What an archive says, against what umoci makes of the same image.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, statSync, writeFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { ownHost } from '../harness/own-host.ts';
import { image, layer, writeLayout } from '../registry/images.ts';
import { Store } from '../registry/store.ts';
import { dir, file, hardlink, header, type Member, symlink, tar } from '../registry/tar.ts';
import { describeTree, type Facts } from '../registry/tree.ts';

await ownHost();

let store: Store;
let work = '';
before(async () => {
  store = await Store.open();
  work = mkdtempSync(join(tmpdir(), 'berth-unpack-'));
});
after(async () => {
  await store[Symbol.asyncDispose]();
  rmSync(work, { recursive: true });
});

/** The same layers, unpacked by umoci and by us. */
async function bothTrees(...layers: Buffer[]): Promise<{ ours: Facts; theirs: Facts }> {
  const scratch = mkdtempSync(join(work, 'case-'));
  const layout = join(scratch, 'layout');
  writeLayout(layout, { app: image(layers.map((content) => layer(content))) });
  const [loaded] = await store.images.load(layout);
  const ours = describeTree(await store.mount(loaded!.id));
  execFileSync('/usr/bin/umoci', ['unpack', '--image', `${layout}:app`, join(scratch, 'bundle')], { stdio: 'pipe' });
  const theirs = describeTree(join(scratch, 'bundle/rootfs'));
  return { ours, theirs };
}

const capability = Buffer.from('0100000200240000000000000000000000000000', 'hex');
const large = Buffer.alloc(700_001, 'large file ');
const ofType = (name: string, type: string, more: Partial<Member> = {}): Member => ({ name, type, ...more });

function gnuLong(type: 'L' | 'K', text: string): Buffer {
  const content = Buffer.from(`${text}\0`, 'latin1');
  const padded = Buffer.concat([content, Buffer.alloc((512 - (content.length % 512)) % 512)]);
  return Buffer.concat([header({ name: '././@LongLink', type, magic: 'ustar  \0' }, content.length), padded]);
}

const everything = tar(
  dir('.', { mode: 0o755 }),
  dir('bin', { mode: 0o755, mtime: 1_500_000_000 }),
  file('bin/tool', 'x', { mode: 0o4755, uid: 1, gid: 2, pax: { 'SCHILY.xattr.security.capability': capability } }),
  file('bin/large', large, { mode: 0o600, uid: 100_000, gid: 100_001, pax: { mtime: '1500000000.123456789' } }),
  file('bin/empty', '', { mode: 0o444, mtime: 0 }),
  file('bin/old', 'x', { pax: { mtime: '-1.25' } }),
  hardlink('bin/tool2', 'bin/tool'),
  hardlink('./bin/../bin/tool3', '/bin/tool2'),
  symlink('bin/absolute', '/bin/tool', { uid: 5, mtime: 1_400_000_000 }),
  symlink('bin/dangling', '../../../nowhere'),
  hardlink('bin/same-link', 'bin/dangling'),
  dir('sticky', { mode: 0o1777 }),
  dir('setgid', { mode: 0o2775, gid: 7 }),
  file('setgid/inside', '', { gid: 0 }),
  ofType('fifo', '6', { mode: 0o620, uid: 3 }),
  ofType('char', '3', { mode: 0o666, major: 1, minor: 3 }),
  ofType('block', '4', { mode: 0o660, major: 7, minor: 300 }),
  file('xattrs', 'x', {
    pax: {
      'SCHILY.xattr.user.text': 'value',
      'SCHILY.xattr.user.binary': Buffer.from([0, 255, 10, 61, 0]),
    },
  }),
  dir('xattr-dir', { pax: { 'SCHILY.xattr.user.on': 'directory', 'SCHILY.xattr.trusted.mine': 'yes' } }),
  dir('deep'),
  file(`deep/${'long-name-'.repeat(15)}`, 'pax path'),
  symlink('deep/link', 'target/'.repeat(30)),
  gnuLong('L', `deep/${'gnu-name-'.repeat(20)}`),
  file('cut short', 'gnu long name', { magic: 'ustar  \0' }),
  gnuLong('K', 'gnu-link/'.repeat(20)),
  symlink('deep/gnulink', 'cut short', { magic: 'ustar  \0' }),
  file('name', 'ustar prefix', { prefix: 'deep' }),
  file('deep/caf\xc3\xa9', 'utf-8'),
  file('big-ids', '', { uid: 2_000_000_000, gid: 3_000_000_000 }),
  file('pax-ids', '', { pax: { uid: '4000000000', gid: '4294967294' } }),
  dir('times', { mtime: 1_000_000_000 }),
  file('times/later', ''),
);

test('every kind of entry', async () => {
  const { ours, theirs } = await bothTrees(everything);
  assert.deepEqual(ours, theirs);
  assert.equal((ours['bin/tool']!.xattrs as Record<string, string>)['security.capability'], capability.toString('hex'));
  assert.equal(ours['bin/tool3']!.same, 'bin/tool');
});

const base = tar(
  dir('.'),
  dir('etc', { uid: 10, gid: 20, mode: 0o751, mtime: 1_100_000_000, pax: { 'SCHILY.xattr.user.kept': 'yes' } }),
  file('etc/a', 'a'),
  file('etc/b', 'b'),
  dir('etc/d', { mode: 0o700 }),
  file('etc/d/x', 'x'),
  file('etc/d/y', 'y'),
  dir('usr'),
  dir('usr/lib', { mode: 0o711 }),
  file('usr/lib/one', '1', { uid: 9, mode: 0o640, pax: { 'SCHILY.xattr.user.up': 'kept' } }),
  symlink('lib', 'usr/lib'),
  symlink('abs', '/usr/lib'),
  file('plain', 'plain'),
);

/** `unsaid`: directories whose modification time the archive does not give. */
for (const { name, upper, unsaid = [] } of [
  { name: 'a whiteout removes a file', upper: [file('etc/.wh.a')] },
  { name: 'a whiteout removes a directory', upper: [dir('etc'), file('etc/.wh.d')] },
  { name: 'a whiteout of nothing', upper: [dir('etc'), file('etc/.wh.none'), dir('new'), file('new/.wh.none')] },
  { name: 'an opaque directory', upper: [dir('etc'), file('etc/.wh..wh..opq'), file('etc/c', 'c')] },
  { name: 'an opaque marker behind its siblings', upper: [dir('etc'), file('etc/c', 'c'), file('etc/.wh..wh..opq')] },
  { name: 'an opaque directory that is implied', upper: [file('etc/.wh..wh..opq'), file('etc/c', 'c')] },
  { name: 'a whiteout inside an opaque directory', upper: [dir('etc'), file('etc/.wh..wh..opq'), file('etc/.wh.a')] },
  { name: 'a whiteout, then the same file', upper: [dir('etc'), file('etc/.wh.a'), file('etc/a', 'new')] },
  { name: 'the same file, then its whiteout', upper: [dir('etc'), file('etc/a', 'new'), file('etc/.wh.a')] },
  {
    name: 'a whiteout, then the same directory',
    upper: [dir('etc'), file('etc/.wh.d'), dir('etc/d'), file('etc/d/z', 'z')],
  },
  {
    name: 'a directory, then its whiteout',
    unsaid: ['etc/d'],
    upper: [dir('etc'), dir('etc/d'), file('etc/d/z', 'z'), file('etc/.wh.d')],
  },
  { name: 'directories that are implied look as below', upper: [file('etc/d/new', ''), file('usr/lib/new', '')] },
  {
    name: 'directories that nobody describes',
    unsaid: ['no', 'no/such', 'no/such/dir'],
    upper: [file('no/such/dir/new', '')],
  },
  { name: 'a file over a directory', upper: [dir('etc'), file('etc/d', 'now a file')] },
  { name: 'a directory over a file', upper: [dir('plain'), file('plain/inside', '')] },
  { name: 'a directory over a symbolic link', upper: [dir('lib'), file('lib/only', '')] },
  { name: 'a symbolic link over a directory', upper: [dir('etc'), symlink('etc/d', '/usr')] },
  {
    name: 'directory, file and directory again',
    upper: [dir('etc'), dir('etc/d'), file('etc/d', 'f'), dir('etc/d'), file('etc/d/q', '')],
  },
  { name: 'the same file twice', upper: [file('plain', 'first'), file('plain', 'second')] },
  { name: 'a link to a file of the layer below', upper: [dir('usr'), hardlink('usr/two', 'usr/lib/one')] },
  {
    name: 'a link to a file of the layer below, twice',
    upper: [hardlink('usr/lib/two', 'usr/lib/one'), hardlink('usr/lib/three', 'usr/lib/two')],
  },
  {
    name: 'a link to a file of the layer below, which is then removed',
    upper: [dir('usr'), hardlink('usr/two', 'usr/lib/one'), dir('usr/lib'), file('usr/lib/.wh.one')],
  },
  {
    name: 'a link to a file of the layer below, whose directory is then replaced',
    upper: [dir('usr'), hardlink('usr/two', 'usr/lib/one'), file('usr/lib', 'x')],
  },
  {
    name: 'a directory that loses the attributes that it had below',
    upper: [file('lib/.wh.one'), dir('etc', { mode: 0o700 }), dir('.')],
    unsaid: ['usr/lib'],
  },
  {
    name: 'names that lead out come back',
    upper: [file('../../outside', 'x'), file('/etc/../../up', 'y'), file('./etc/./dot', 'z')],
  },
  { name: 'a file through a symbolic link of the layer below', upper: [file('lib/new', 'x')] },
  { name: 'a file through an absolute symbolic link of the layer below', upper: [file('abs/new', 'x')] },
  {
    name: 'files and whiteouts through several links of the layer below',
    upper: [file('lib/a', 'x'), file('abs/b', 'y'), file('lib/.wh.one'), file('usr/lib/c', 'z'), file('lib/sub/d', '')],
    unsaid: ['usr/lib', 'usr/lib/sub'],
  },
  { name: 'a link through a link of the layer below', upper: [hardlink('lib/two', 'lib/one')], unsaid: ['usr/lib'] },
  {
    name: 'a file through a symbolic link of the same layer',
    upper: [dir('real'), symlink('way', 'real'), file('way/in', 'x')],
  },
  {
    name: 'a file through an absolute symbolic link of the same layer',
    upper: [dir('real'), symlink('way', '/real'), file('way/in', 'x')],
  },
]) {
  test(name, async () => {
    const { ours, theirs } = await bothTrees(base, tar(...upper));
    for (const path of unsaid) for (const facts of [ours, theirs]) delete facts[path]!.mtime;
    assert.deepEqual(ours, theirs);
  });
}

test('an extended attribute without a value is kept', async () => {
  const scratch = mkdtempSync(join(work, 'case-'));
  const content = tar(file('empty', 'x', { pax: { 'SCHILY.xattr.user.empty': '' } }));
  writeLayout(scratch, { app: image([layer(content)]) });
  const [loaded] = await store.images.load(scratch);
  assert.deepEqual(describeTree(await store.mount(loaded!.id)).empty!.xattrs, { 'user.empty': '' });
});

test('owners below zero are those that the kernel has by these numbers; -1 is nobody', async () => {
  const content = tar(
    file('header', 'x', { uid: -2, gid: -(2 ** 31) }),
    file('pax', 'x', { pax: { uid: '-2', gid: '-3' } }),
  );
  const scratch = mkdtempSync(join(work, 'case-'));
  writeLayout(scratch, { app: image([layer(content)]) });
  const [loaded] = await store.images.load(scratch);
  const { header: one, pax } = describeTree(await store.mount(loaded!.id));
  assert.deepEqual([one!.uid, one!.gid, pax!.uid, pax!.gid], [2 ** 32 - 2, 2 ** 31, 2 ** 32 - 2, 2 ** 32 - 3]);
  for (const uid of [-1, -(2 ** 31) - 1, 2 ** 32 - 1]) {
    const bad = mkdtempSync(join(work, 'case-'));
    writeLayout(bad, { app: image([layer(tar(file('a', 'x', { uid })))]) });
    await assert.rejects(store.images.load(bad), { kind: 'InvalidArgument', message: /out of range/ });
  }
});

test("overlayfs' own attributes and SELinux labels in a layer are dropped", async () => {
  const scratch = mkdtempSync(join(work, 'case-'));
  const pax = {
    'SCHILY.xattr.trusted.overlay.redirect': '/etc',
    'SCHILY.xattr.trusted.overlay.opaque': 'y',
    'SCHILY.xattr.user.overlay.redirect': '/etc',
    'SCHILY.xattr.security.selinux': 'system_u:object_r:etc_t:s0',
    'SCHILY.xattr.user.fine': 'kept',
  };
  writeLayout(scratch, { app: image([layer(base), layer(tar(dir('etc', { pax })))]) });
  const [loaded] = await store.images.load(scratch);
  const facts = describeTree(join(store.root, 'v1/snapshots', loaded!.layers[1]!.replace(':', '-'), 'fs'));
  assert.deepEqual(facts.etc!.xattrs, { 'user.fine': Buffer.from('kept').toString('hex') });
  assert.ok('etc/a' in describeTree(await store.mount(loaded!.id)));
});

// What GNU tar calls sparse in pax archives, made by hand: 100,000 bytes, data at 0 and at 50,000, a hole at the end.
const sparse = { size: 100_000, map: [0, 512, 50_000, 1000] };
const stored = Buffer.concat([Buffer.alloc(512, 'a'), Buffer.alloc(1000, 'b')]);
const map10 = Buffer.alloc(512);
map10.write(`2\n${sparse.map.join('\n')}\n`);

test('sparse files of pax archives', async () => {
  const { ours, theirs } = await bothTrees(
    tar(
      dir('.'),
      file('v01', stored, {
        pax: {
          'GNU.sparse.size': String(sparse.size),
          'GNU.sparse.numblocks': '2',
          'GNU.sparse.map': sparse.map.join(','),
          'GNU.sparse.name': 'real-v01',
        },
      }),
      file('v10', Buffer.concat([map10, stored]), {
        pax: {
          'GNU.sparse.major': '1',
          'GNU.sparse.minor': '0',
          'GNU.sparse.name': 'real-v10',
          'GNU.sparse.realsize': String(sparse.size),
        },
      }),
      file('after', 'the archive goes on'),
    ),
  );
  assert.deepEqual(ours, theirs);
  for (const name of ['real-v01', 'real-v10']) assert.equal(ours[name]!.size, sparse.size);
});

test('what GNU tar writes with --sparse comes out whole', async () => {
  const scratch = mkdtempSync(join(work, 'gnu-'));
  const path = join(scratch, 'holes');
  writeFileSync(path, 'start');
  for (let i = 1; i < 60; i++) {
    const fd = openSync(path, 'r+');
    writeSync(fd, `piece ${i}`, i * 1_000_000);
    closeSync(fd);
  }
  for (const format of [
    'gnu',
    'posix --sparse-version=0.0',
    'posix --sparse-version=0.1',
    'posix --sparse-version=1.0',
  ]) {
    const options = `--format=${format}`.split(' ');
    const archive = execFileSync('/usr/bin/tar', [...options, '--sparse', '-cf', '-', '-C', scratch, 'holes'], {
      maxBuffer: 1 << 28,
    });
    assert.ok(archive.length < 2_000_000);
    const layout = mkdtempSync(join(work, 'layout-'));
    writeLayout(layout, { app: image([layer(archive)]) });
    const [loaded] = await store.images.load(layout);
    const root = await store.mount(loaded!.id);
    assert.ok(readFileSync(join(root, 'holes')).equals(readFileSync(path)), format);
    assert.ok(statSync(join(root, 'holes')).blocks < 3000, `${format}: the holes are holes`);
  }
});
