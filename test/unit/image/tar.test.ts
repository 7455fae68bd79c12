import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cleanPath } from '../../../src/image/layer-place.ts';
import { type Entry, smallFile, TarReader } from '../../../src/image/tar.ts';
import { dir, file, hardlink, header, type Member, paxRecord, symlink, tar } from '../../registry/tar.ts';

type Read = Omit<Entry, 'xattrs'> & { xattrs: Record<string, string>; content: string };

/** Everything in an archive that is fed in pieces of `step` bytes. */
function read(archive: Buffer, step = archive.length): Read[] {
  const found: Read[] = [];
  let parts: [position: number, data: Buffer][] = [];
  const reader = new TarReader({
    entry: (entry, content) => {
      const xattrs = Object.fromEntries([...entry.xattrs].map(([name, value]) => [name, value.toString('latin1')]));
      found.push({ ...entry, xattrs, content: content?.toString('latin1') ?? '' });
    },
    write: (data, position) => {
      parts.push([position, Buffer.from(data)]);
    },
    end: () => {
      const last = found.at(-1)!;
      const whole = Buffer.alloc(last.size);
      for (const [position, data] of parts) data.copy(whole, position);
      last.content = whole.toString('latin1');
      parts = [];
    },
  });
  for (let at = 0; at < archive.length; at += step) reader.push(archive.subarray(at, at + step));
  reader.finish();
  return found;
}

const mixed = tar(
  dir('d'),
  file('d/small', 'x'.repeat(700)),
  file('d/large', Buffer.alloc(smallFile + 1, 'abcdefg')),
  file('d/exact', Buffer.alloc(smallFile, 'h')),
  file('d/none'),
  file('p'.repeat(200), 'long', { pax: { 'SCHILY.xattr.user.a': Buffer.from([0, 1, 255]), mtime: '5.5' } }),
  hardlink('l', 'd/small'),
  symlink('s', 'd'),
  file('z', 'xyz', { pax: { 'GNU.sparse.map': '1,1,5,2', 'GNU.sparse.size': '9', 'GNU.sparse.name': 'holes' } }),
);

test('chunks of any size give the same entries', () => {
  const whole = read(mixed);
  assert.equal(whole.length, 9);
  assert.equal(whole[8]!.content, '\0x\0\0\0yz\0\0');
  for (const step of [1, 7, 511, 512, 513, 4096, 65_536])
    assert.deepEqual(read(mixed, step), whole, `chunks of ${step}`);
});

const gnu = 'ustar  \0';
const one = (member: Member) => read(tar(member))[0]!;
for (const { name, member, expected } of [
  { name: 'a GNU base-256 owner', member: file('a', '', { uid: 2 ** 31 }), expected: { uid: 2 ** 31 } },
  { name: 'a time before 1970', member: file('a', '', { mtime: -5 }), expected: { seconds: -5 } },
  {
    name: 'a pax time before 1970',
    member: file('a', '', { pax: { mtime: '-1.25' } }),
    expected: { seconds: -2, nanoseconds: 750_000_000 },
  },
  {
    name: 'more digits than nanoseconds',
    member: file('a', '', { pax: { mtime: '1.1234567899' } }),
    expected: { seconds: 1, nanoseconds: 123_456_789 },
  },
  {
    name: "a sparse file's name on what is none",
    member: file('a', 'x', { pax: { 'GNU.sparse.name': 'b', 'GNU.sparse.size': '9' } }),
    expected: { path: 'a', size: 1 },
  },
  {
    name: "a sparse file's name on a link",
    member: { name: 'a', type: '2', link: 'x', pax: { 'GNU.sparse.name': 'b', 'GNU.sparse.map': '0,1' } },
    expected: { path: 'a' },
  },
  { name: 'a time with its sign', member: file('a', '', { pax: { mtime: '+5' } }), expected: { seconds: 5 } },
  {
    name: 'the last time of 64 bits',
    member: file('a', '', { pax: { mtime: '9223372036854775807' } }),
    expected: { seconds: 2 ** 53 - 2 },
  },
  { name: 'ustar prefix', member: file('b', '', { prefix: 'a' }), expected: { path: 'a/b' } },
  {
    name: 'no prefix in GNU archives: there are times',
    member: file('b', '', { magic: gnu, patch: (block) => block.write('14703721000\0 14703721001', 345) }),
    expected: { path: 'b' },
  },
  {
    name: 'a time in base 256, which is no prefix either',
    member: file('b', '', { magic: gnu, patch: (block) => block.writeUInt32BE(0x80_00_00_61, 345) }),
    expected: { path: 'b' },
  },
  {
    name: 'a prefix in a GNU header, as Go before 1.8 has it',
    member: file('b', '', { prefix: 'some/long/way', magic: gnu, uid: 2 ** 22 }),
    expected: { path: 'some/long/way/b', uid: 2 ** 22 },
  },
  {
    name: 'neither times nor a text in a GNU header',
    member: file('b', '', { prefix: 'caf\xe9', magic: gnu }),
    expected: { path: 'b' },
  },
  {
    name: 'an owner below zero',
    member: file('a', '', { uid: -2, pax: { gid: '-3' } }),
    expected: { uid: -2, gid: -3 },
  },
  {
    name: 'no prefix in v7 archives',
    member: file('b', '', { prefix: 'a', magic: '\0\0\0\0\0\0\0\0' }),
    expected: { path: 'b' },
  },
  { name: 'the old way to say directory', member: { name: 'd/', type: '\0' }, expected: { type: 'directory' } },
  {
    name: 'a contiguous file',
    member: { name: 'f', type: '7', content: 'x' },
    expected: { type: 'file', content: 'x' },
  },
  {
    name: 'a link whose header has a size',
    member: { name: 'l', type: '1', link: 'x', size: 1000 },
    expected: { type: 'link', size: 0 },
  },
  {
    name: 'an empty pax value takes nothing away',
    member: file('a', '', { uid: 7, pax: { uid: '', path: '' } }),
    expected: { uid: 7, path: 'a' },
  },
  { name: 'bytes that are no UTF-8', member: file('\xff\xfe'), expected: { path: '\xff\xfe' } },
  {
    name: 'mode bits beyond the permission bits',
    member: file('a', '', { mode: 0o100755 }),
    expected: { mode: 0o755 },
  },
] as { name: string; member: Member; expected: Partial<Read> }[]) {
  test(`tar: ${name}`, () => {
    const entry = one(member);
    for (const [key, value] of Object.entries(expected)) assert.deepEqual(entry[key as keyof Read], value, key);
  });
}

test("GNU's long names count for more than pax' paths, and an empty one for nothing", () => {
  const long = (type: string, content: string): Member => ({ name: '././@LongLink', type, content });
  const pax = (records: Buffer): Member => ({ name: 'x', type: 'x', content: records });
  const both = pax(Buffer.concat([paxRecord('path', 'by pax'), paxRecord('linkpath', 'to pax')]));
  const found = read(
    tar(
      both,
      long('L', 'by GNU\0'),
      long('K', 'to GNU\0'),
      symlink('short', 'to'),
      long('L', '\0'),
      long('K', ''),
      both,
      symlink('short', 'to'),
      long('L', '\0'),
      symlink('short', 'to'),
    ),
  );
  assert.deepEqual(
    found.map(({ path, link }) => [path, link]),
    [
      ['by GNU', 'to GNU'],
      ['by pax', 'to pax'],
      ['short', 'to'],
    ],
  );
});

test('a pax record with nothing in it takes back what one before it said', () => {
  const said = ['path', 'linkpath', 'size', 'uid', 'gid', 'mtime'].map((key) => paxRecord(key, '9'));
  const takenBack = ['path', 'linkpath', 'size', 'uid', 'gid', 'mtime', 'nothing'].map((key) => paxRecord(key, ''));
  const header_: Member = { name: 'x', type: 'x', content: Buffer.concat([...said, ...takenBack]) };
  const [entry] = read(tar(header_, file('a', 'x', { uid: 1, gid: 2, mtime: 3 })));
  const { path, size, uid, gid, seconds } = entry!;
  assert.deepEqual({ path, size, uid, gid, seconds }, { path: 'a', size: 1, uid: 1, gid: 2, seconds: 3 });
});

test('global headers are passed over, and what follows the end is ignored', () => {
  const global = header({ name: 'pax_global_header', type: 'g' }, 20);
  const archive = tar(Buffer.concat([global, Buffer.alloc(512, 'comment')]), file('a', 'x'));
  assert.deepEqual(
    read(Buffer.concat([archive, Buffer.alloc(5000, 'rubbish')])).map(({ path }) => path),
    ['a'],
  );
});

test('an archive without its end marker is whole, one that goes on after a zero block is not', () => {
  const archive = tar(file('a', 'x'));
  assert.equal(read(archive.subarray(0, -1024)).length, 1);
  assert.equal(read(archive.subarray(0, -512)).length, 1);
  assert.throws(() => read(Buffer.concat([archive.subarray(0, -512), tar(file('b'))])), {
    name: 'Fault',
    message: /block of zeros/,
  });
});

for (const [path, expected] of [
  ['a/b', 'a/b'],
  ['/a', 'a'],
  ['./a/', 'a'],
  ['.', ''],
  ['./', ''],
  ['/', ''],
  ['', ''],
  ['..', ''],
  ['../../a', 'a'],
  ['a/../b', 'b'],
  ['a/../../../b', 'b'],
  ['a//b///c', 'a/b/c'],
  ['a/./b', 'a/b'],
  ['a/..b/c..', 'a/..b/c..'],
  ['...', '...'],
  ['.hidden', '.hidden'],
  ['./.wh.a', '.wh.a'],
  ['a/..', ''],
] as const) {
  test(`the name ${JSON.stringify(path)} means ${JSON.stringify(expected)}`, () => {
    assert.equal(cleanPath(path), expected);
  });
}

test('random damage gives an error or entries, never anything else', () => {
  let seed = 12345;
  const random = (below: number) => {
    seed = (seed * 1103515245 + 12345) & 0x7fffffff;
    return seed % below;
  };
  for (let i = 0; i < 3000; i++) {
    const damaged = Buffer.from(mixed.subarray(0, 4096));
    for (let n = random(4); n >= 0; n--) damaged[random(damaged.length)] = random(256);
    try {
      read(damaged, 1 + random(2000));
    } catch (error) {
      assert.equal((error as Error).name, 'Fault', String((error as Error).stack));
    }
  }
});

test('what is said before a global header, or an empty one of its own kind, is of no member, as with Go', () => {
  const long = (type: string, content = 'long\0'): Member => ({ name: '././@LongLink', type, content });
  const pax: Member = { name: 'x', type: 'x', content: paxRecord('uid', '7') };
  const global: Member = { name: 'g', type: 'g', content: paxRecord('comment', 'x') };
  const [entry] = read(tar(long('L'), long('K'), pax, global, { name: 'a', type: '2', link: 'b' }));
  assert.deepEqual([entry!.path, entry!.link, entry!.uid], ['a', 'b', 0]);
  const [again] = read(
    tar(long('L'), long('L', ''), pax, { ...pax, content: '' }, { name: 'a', type: '2', link: 'b' }),
  );
  assert.deepEqual([again!.path, again!.uid], ['a', 0]);
});
