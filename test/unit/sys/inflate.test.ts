import assert from 'node:assert/strict';
import { test } from 'node:test';
import { crc32, createGunzip, gzipSync } from 'node:zlib';
import { gunzip } from '../../../src/sys/inflate.ts';

async function* pieces(data: Buffer, size: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < data.length; at += size) yield data.subarray(at, at + size);
}

type Outcome = { readonly text: string } | { readonly code: string };

async function outcome(chunks: AsyncIterable<Buffer>): Promise<Outcome> {
  const parts: Buffer[] = [];
  try {
    for await (const chunk of chunks) parts.push(Buffer.from(chunk));
  } catch (error) {
    return { code: (error as NodeJS.ErrnoException).code ?? String(error) };
  }
  return { text: Buffer.concat(parts).toString('latin1') };
}

const ours = (data: Buffer, { piece, room }: { piece: number; room: number }) =>
  outcome(gunzip(pieces(data, piece), room));

function theirs(data: Buffer): Promise<Outcome> {
  const stream = createGunzip();
  stream.end(data);
  return outcome(stream);
}

/** Of what is damaged, and then ends, either may be said. */
const judged = (result: Outcome): Outcome => ('text' in result ? result : { code: result.code.replace(/^Z_.*/, 'Z_') });

const sizes = [
  { piece: 1, room: 1 },
  { piece: 1, room: 65536 },
  { piece: 7, room: 64 },
  { piece: 262144, room: 512 },
  { piece: 262144, room: 524288 },
];

/** Repeats, noise and zeros, so that there are blocks of every type. */
function content(length: number): Buffer {
  const data = Buffer.alloc(length);
  for (let at = 0; at < length; at++) data[at] = at % 3000 < 1000 ? (at * at * 31) >> 3 : at % 3000 < 2000 ? at % 7 : 0;
  return data;
}

/** A member whose header has the parts that `flags` says (RFC 1952, 2.3). */
function member(flags: number, parts: readonly Buffer[], { check }: { check?: number } = {}): Buffer {
  const header = Buffer.concat([Buffer.from([0x1f, 0x8b, 8, flags, 0, 0, 0, 0, 0, 3]), ...parts]);
  const ofHeader = Buffer.alloc(2);
  ofHeader.writeUInt16LE((check ?? crc32(header)) & 0xffff);
  return Buffer.concat([header, ...(flags & 2 ? [ofHeader] : []), gzipSync('member').subarray(10)]);
}

const one = gzipSync(content(5000));
const extra = Buffer.from([3, 0, 1, 2, 3]);
const name = Buffer.from('a name\0');
const comment = Buffer.from('said of it\0');
const changed = (at: number, byte: number) =>
  Buffer.concat([one.subarray(0, at), Buffer.from([byte]), one.subarray(at + 1)]);
const ofBlock = (...bytes: number[]) => Buffer.concat([one.subarray(0, 10), Buffer.from(bytes), Buffer.alloc(8)]);

const streams: Readonly<Record<string, Buffer>> = {
  'one member': one,
  'an empty member': gzipSync(''),
  'stored blocks': gzipSync(content(70_000), { level: 0 }),
  'fixed codes': gzipSync('short'),
  'the best compression': gzipSync(content(100_000), { level: 9 }),
  'three members, one of them empty': Buffer.concat([one, gzipSync(''), gzipSync('third')]),
  'zeros behind a member': Buffer.concat([one, Buffer.alloc(600)]),
  'zeros and then garbage': Buffer.concat([one, Buffer.alloc(10), Buffer.from('garbage')]),
  'zeros and then a member': Buffer.concat([one, Buffer.alloc(10), one]),
  'garbage behind a member': Buffer.concat([one, Buffer.from('garbage')]),
  'half a header behind a member': Buffer.concat([one, one.subarray(0, 5)]),
  'an extra field': member(4, [extra]),
  'an extra field of no bytes': member(4, [Buffer.alloc(2)]),
  'a long extra field': member(4, [Buffer.from([0xff, 0xff]), Buffer.alloc(65535, 1)]),
  'a name': member(8, [name]),
  'a name and a comment': member(24, [name, comment]),
  'all that a header may have, and its checksum': member(30, [extra, name, comment]),
  'a wrong checksum of the header': member(30, [extra, name, comment], { check: 1 }),
  'text, by its flag': member(1, []),
  'a reserved flag': member(32, []),
  'another method': changed(2, 7),
  'other magic': changed(1, 0x8c),
  'a wrong checksum': changed(one.length - 8, one.at(-8)! ^ 1),
  'a wrong length': changed(one.length - 4, one.at(-4)! ^ 1),
  'a block of no type': ofBlock(7),
  'a stored block with two lengths': ofBlock(1, 5, 0, 5, 0),
  'a copy from before the beginning': ofBlock(0x4b, 0x04, 0x82, 0x01),
  'a name without end': member(8, [Buffer.alloc(3000, 0x61)]).subarray(0, 2000),
};

for (const [what, data] of Object.entries(streams)) {
  test(`gunzip is what node:zlib is: ${what}`, async () => {
    const expected = judged(await theirs(data));
    for (const size of sizes) {
      if (size.piece === 1 && data.length > 10_000) continue; // it takes its time
      assert.deepEqual(judged(await ours(data, size)), expected, JSON.stringify(size));
    }
  });
}

test('A stream may end nowhere but behind a member', async () => {
  const data = Buffer.concat([gzipSync(content(300)), member(30, [extra, name, comment])]);
  const ends: number[] = [];
  for (let length = 1; length <= data.length; length++) {
    const result = await ours(data.subarray(0, length), { piece: 64, room: 128 });
    if ('text' in result) ends.push(length);
    else assert.equal(result.code, 'Z_BUF_ERROR');
  }
  assert.deepEqual(ends, [gzipSync(content(300)).length, data.length]);
});

test('What is damaged anywhere gives what node:zlib gives, or an error', async () => {
  const data = gzipSync(content(20_000));
  for (let at = 0; at < data.length; at += 3) {
    const damaged = Buffer.from(data);
    damaged[at] = damaged[at]! ^ (1 << (at % 8));
    const [own, expected] = [await ours(damaged, { piece: 100, room: 4096 }), await theirs(damaged)];
    if ('text' in own || 'text' in expected) assert.deepEqual(own, expected, `byte ${at}`);
  }
});

test('Who leaves reads no more of the source, and does not wait for it', async () => {
  let given = 0;
  let isLeft = false;
  async function* source() {
    try {
      yield one;
      given++;
      await new Promise(() => {}); // a registry that has fallen silent
    } finally {
      isLeft = true;
    }
  }
  for await (const chunk of gunzip(source(), 64)) {
    assert.equal(chunk.length, 64);
    break;
  }
  assert.deepEqual({ given, isLeft }, { given: 0, isLeft: true });
});

test('The failure of a source is that of its reader', async () => {
  async function* source() {
    yield one.subarray(0, 100);
    throw new Error('the connection is gone');
  }
  await assert.rejects(Array.fromAsync(gunzip(source(), 64)), /the connection is gone/);
});
