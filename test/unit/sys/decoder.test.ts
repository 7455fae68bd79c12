import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { constants, crc32, createGunzip, createZstdDecompress, gzipSync, zstdCompressSync } from 'node:zlib';
import { Decoder } from '../../../src/sys/decoder.ts';

type Source = AsyncIterable<Buffer>;
const gunzip = (source: Source, chunkBytes: number) => new Decoder(source, { format: 'gzip', chunkBytes });
const unzstd = (source: Source, chunkBytes: number) => new Decoder(source, { format: 'zstd', chunkBytes });

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

const ours = (data: Buffer, { piece, room }: { piece: number; room: number }, decompress = gunzip) =>
  outcome(decompress(pieces(data, piece), room));

function theirs(data: Buffer, stream = createGunzip()): Promise<Outcome> {
  stream.end(data);
  return outcome(stream);
}

/** Of what is damaged, and then ends, either may be said. */
const judged = (result: Outcome): Outcome =>
  'text' in result ? result : { code: result.code.replace(/^(Z_|ZSTD_).*/, 'Z_') };

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
/** What ends a member of this content. */
function sealOf(data: Buffer): Buffer {
  const seal = Buffer.alloc(8);
  seal.writeUInt32LE(crc32(data));
  seal.writeUInt32LE(data.length, 4);
  return seal;
}
const ofBlock = (...bytes: number[]) => Buffer.concat([one.subarray(0, 10), Buffer.from(bytes), Buffer.alloc(8)]);

/** Fields of so many bits, the lowest first (RFC 1951, 3.1.1). */
function bits(...fields: readonly (readonly [value: number, width: number])[]): number[] {
  const all = fields.flatMap(([value, width]) => Array.from({ length: width }, (_, at) => (value >> at) & 1));
  return Array.from({ length: Math.ceil(all.length / 8) }, (_, byte) =>
    all.slice(byte * 8, byte * 8 + 8).reduce((sum, bit, at) => sum | (bit << at), 0),
  );
}
/** The last block, with tables of its own (3.2.7): 257 literals and lengths, so many distances, so many code lengths. */
const withTables = (distances: number, lengths: readonly number[]): (readonly [number, number])[] => [
  [1, 1],
  [2, 2],
  [0, 5],
  [distances - 1, 5],
  [lengths.length - 4, 4],
  ...lengths.map((length) => [length, 3] as const),
];
/** Code lengths 1 (as bit 0) and runs of zeros (as bit 1 and seven bits), each one bit long. */
const onesAndRuns = [0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
const ones = (count: number) => Array.from({ length: count }, () => [0, 1] as const);
const run = (zeros: number) => [[1, 1] as const, [zeros - 11, 7] as const];

const streams: Readonly<Record<string, Buffer>> = {
  'more code lengths than there is room for': ofBlock(...bits(...withTables(1, [1, 1, 1, 0])), 0, 0),
  'more literals than there is room for': ofBlock(
    ...bits(...withTables(1, onesAndRuns), ...ones(3), ...run(138), ...run(115), ...ones(2)),
    0,
  ),
  'more distances than there is room for': ofBlock(
    ...bits(...withTables(3, onesAndRuns), ...ones(1), ...run(138), ...run(117), ...ones(1), ...ones(3)),
    0,
  ),
  'tables that are full': Buffer.concat([
    one.subarray(0, 10),
    // Literal 0 twice (bit 0), the end (bit 1).
    Buffer.from(bits(...withTables(2, onesAndRuns), ...ones(1), ...run(138), ...run(117), ...ones(3), [0, 2], [1, 1])),
    sealOf(Buffer.alloc(2)),
  ]),
  'nothing at all': Buffer.alloc(0),
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
  let [asked, isLeft] = [0, false];
  const source = {
    // A registry that has fallen silent.
    next: () => (asked++ === 0 ? Promise.resolve({ done: false, value: one }) : new Promise<never>(() => {})),
    return: () => {
      isLeft = true;
      return new Promise<never>(() => {});
    },
  };
  for await (const chunk of gunzip({ [Symbol.asyncIterator]: () => source }, 64)) {
    assert.equal(chunk.length, 64);
    break;
  }
  assert.deepEqual({ asked, isLeft }, { asked: 2, isLeft: true });
});

test('A decoder that cannot be opened gives its source back', async () => {
  let isLeft = false;
  const source = {
    next: () => Promise.reject(new Error('nobody asks')),
    return: async () => {
      isLeft = true;
      return { done: true as const, value: undefined };
    },
  };
  for (const digest of ['md1', 5, 'x'.repeat(100)]) {
    isLeft = false;
    const options = { format: 'gzip', chunkBytes: 64, digest: digest as 'sha256' } as const;
    const decoder = new Decoder({ [Symbol.asyncIterator]: () => source as unknown as AsyncIterator<Buffer> }, options);
    await assert.rejects(Array.fromAsync(decoder), /No such digest/);
    assert.ok(isLeft, `${digest}`);
  }
});

test('The failure of a source is that of its reader', async () => {
  async function* source() {
    yield one.subarray(0, 100);
    throw new Error('the connection is gone');
  }
  await assert.rejects(Array.fromAsync(gunzip(source(), 64)), /the connection is gone/);
});

const { ZSTD_c_checksumFlag, ZSTD_c_windowLog } = constants;
const frame = (data: Buffer | string, params: Record<number, number> = { [ZSTD_c_checksumFlag]: 1 }) =>
  zstdCompressSync(data, { params });
/** A frame that is skipped (RFC 8878, 3.1.2). */
const skipped = (data: Buffer) => {
  const head = Buffer.alloc(8);
  head.writeUInt32LE(0x184d2a5a);
  head.writeUInt32LE(data.length, 4);
  return Buffer.concat([head, data]);
};
const packed = frame(content(9000));
/** The head of a frame of an unknown length whose window has 2^(10 + exponent) bytes, and an empty last block. */
const ofWindow = (exponent: number) => Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0, exponent << 3, 1, 0, 0]);

const zstdStreams: Readonly<Record<string, Buffer>> = {
  'nothing at all': Buffer.alloc(0),
  'one frame': packed,
  'an empty frame': frame(''),
  'a frame without checksum': frame(content(3000), {}),
  'a frame of many blocks': frame(content(700_000)),
  'a frame with a window that its content does not fill': frame(content(500_000), { [ZSTD_c_windowLog]: 12 }),
  'three frames, one of them empty': Buffer.concat([packed, frame(''), frame('third')]),
  'frames that are skipped, before, between and behind': Buffer.concat([
    skipped(Buffer.alloc(300)),
    packed,
    skipped(Buffer.alloc(0)),
    frame('second'),
    skipped(Buffer.from('end')),
  ]),
  'nothing but a frame that is skipped': skipped(Buffer.from('nothing')),
  'a wrong checksum': Buffer.concat([packed.subarray(0, -1), Buffer.from([packed.at(-1)! ^ 1])]),
  'the largest window that is taken': ofWindow(17),
  'a window that would take too much memory': ofWindow(18),
};

for (const [what, data] of Object.entries(zstdStreams)) {
  test(`zstd is what node:zlib is: ${what}`, async () => {
    const expected = judged(await theirs(data, createZstdDecompress()));
    for (const size of sizes) {
      if (size.piece === 1 && data.length > 10_000) continue; // it takes its time
      const isLong = 'text' in expected && expected.text.length > 10_000;
      const room = isLong ? Math.max(size.room, 4096) : size.room;
      assert.deepEqual(judged(await ours(data, { ...size, room }, unzstd)), expected, JSON.stringify(size));
    }
  });
}

/** node:zlib stops reading there. To others, the programs of registries' clients among them, it is no zstd. */
const behindFrames: Readonly<Record<string, Buffer>> = {
  garbage: Buffer.from('garbage'),
  zeros: Buffer.alloc(600),
  'half a header': packed.subarray(0, 3),
};

for (const [what, behind] of Object.entries(behindFrames)) {
  test(`behind a frame of zstd there is nothing else: ${what}`, async () => {
    const result = await ours(Buffer.concat([packed, behind]), { piece: 64, room: 4096 }, unzstd);
    assert.match('code' in result ? result.code : 'it was read', /^Z_(DATA|BUF)_ERROR$/);
  });
}

test('A stream of zstd may end nowhere but behind a frame', async () => {
  const data = Buffer.concat([frame(content(300)), skipped(Buffer.from('x')), frame('more')]);
  const ends: number[] = [];
  for (let length = 1; length <= data.length; length++) {
    const result = await ours(data.subarray(0, length), { piece: 64, room: 128 }, unzstd);
    if ('text' in result) ends.push(length);
    else assert.equal(result.code, 'Z_BUF_ERROR');
  }
  assert.deepEqual(ends, [frame(content(300)).length, data.length - frame('more').length, data.length]);
});

test('What is damaged anywhere in zstd gives what node:zlib gives, or an error', async () => {
  for (let at = 0; at < packed.length; at += 3) {
    const damaged = Buffer.from(packed);
    damaged[at] = damaged[at]! ^ (1 << (at % 8));
    const [own, expected] = [
      await ours(damaged, { piece: 100, room: 4096 }, unzstd),
      await theirs(damaged, createZstdDecompress()),
    ];
    if ('text' in own || 'text' in expected) assert.deepEqual(own, expected, `byte ${at}`);
  }
});

for (const digest of ['sha256', 'sha512'] as const) {
  test(`The ${digest} of what is read is there at its end, with what is behind the last member`, async () => {
    const data = Buffer.concat([one, Buffer.alloc(300), Buffer.from('padding')]);
    const decoder = new Decoder(pieces(data, 100), { format: 'gzip', chunkBytes: 512, digest });
    assert.throws(() => decoder.digest(), /not read to its end/);
    await Array.fromAsync(decoder);
    assert.equal(decoder.digest(), createHash(digest).update(data).digest('hex'));
  });
}

test('Each piece is taken once, in order, and nothing of it is read afterwards', async () => {
  const data = gzipSync(content(200_000));
  const given = await Array.fromAsync(pieces(data, 1000), (piece) => Buffer.from(piece));
  const taken: Buffer[] = [];
  async function* source() {
    for (const piece of given) yield Buffer.from(piece);
  }
  const options = {
    format: 'gzip',
    chunkBytes: 4096,
    taken: (piece: Uint8Array) => {
      taken.push(Buffer.from(piece));
      piece.fill(0xff);
    },
  } as const;
  const parts = await Array.fromAsync(new Decoder(source(), options), (chunk) => Buffer.from(chunk));
  assert.deepEqual(Buffer.concat(parts), content(200_000));
  assert.deepEqual(taken, given);
});
