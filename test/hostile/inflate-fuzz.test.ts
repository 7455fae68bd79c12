// What layers are inflated by beside what everybody's programs use; see fuzz-support.ts for how long and how to run a finding again.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createGunzip, createZstdDecompress } from 'node:zlib';
import { type CompressionFormat, Decoder } from '../../src/sys/decoder.ts';
import { ownHost } from '../harness/own-host.ts';
import { fuzz, pick, type Random } from './fuzz-support.ts';
import { cut, member, stream, unsealed } from './gzip-streams.ts';
import { zstdStream } from './zstd-streams.ts';

await ownHost();

/** What was read, and what ended it, in the words of zlib. */
type Outcome = { readonly read: Buffer; readonly problem: string | null };

async function outcome(chunks: AsyncIterable<Buffer>): Promise<Outcome> {
  const parts: Buffer[] = [];
  const read = () => Buffer.concat(parts);
  try {
    for await (const chunk of chunks) parts.push(Buffer.from(chunk));
    return { read: read(), problem: null };
  } catch (error) {
    const { code = '', message } = error as NodeJS.ErrnoException;
    if (!/^(Z_DATA_ERROR|Z_BUF_ERROR|ZSTD_error_\w+)$/.test(code)) throw error;
    return { read: read(), problem: message };
  }
}

async function* over(pieces: Iterable<Buffer>): AsyncGenerator<Buffer> {
  yield* pieces;
}

const ours = (pieces: Iterable<Buffer>, room: number, format: CompressionFormat = 'gzip') =>
  outcome(new Decoder(over(pieces), { format, chunkBytes: room }));

function theirs(data: Buffer): Promise<Outcome> {
  const reader = createGunzip();
  reader.end(data);
  return outcome(reader);
}

const rooms = [1, 7, 512, 65_536, 524_288];
const roomFor = (length: number, room: number) => (length > 5000 ? Math.max(room, 512) : room);

/**
 * Tables of codes that are not all used: zlib refuses them, and ISA-L gives what the codes say of those that are
 * (docs/decisions.md). Those with more codes than there is room for are refused by both
 * (unit/sys/decoder).
 */
const readByOurs = ['invalid code lengths set', 'invalid distances set', 'invalid literal/lengths set'];

/** Both take it, and read the same; or neither does. What is damaged and then ends may be called either. */
async function compare(data: Buffer, pieces: Iterable<Buffer>, room: number): Promise<void> {
  const expected = await theirs(data);
  const own = await ours(pieces, roomFor(expected.read.length, room));
  if (own.problem === null && readByOurs.includes(expected.problem ?? '')) return;
  assert.equal(own.problem === null, expected.problem === null, `${own.problem}, where zlib: ${expected.problem}`);
  if (own.problem === null) assert.ok(own.read.equals(expected.read), 'other bytes than those of zlib');
}

/** With every part of a header, and no more than a few hundred bytes. */
function small(random: Random): Buffer {
  for (;;) {
    const one = member(random, 31);
    if (one.length < 400) return one;
  }
}

test('gzip: taken and read as by zlib, however it is cut', async () => {
  await fuzz(async (random) => {
    const data = stream(random);
    await compare(data, cut(random, data), pick(random, rooms));
  });
});

test('gzip: tables that are damaged are refused where zlib refuses them, whatever the checksum says', async () => {
  await fuzz(async (random) => {
    const { begin, sealed } = unsealed(random);
    for (const { read } of [await ours([begin], 65_536), await theirs(begin)]) {
      const data = sealed(read);
      await compare(data, [data], 65_536);
    }
  });
});

test('gzip: members with all that a header has, cut in two at each byte', async () => {
  await fuzz(async (random) => {
    const data = Buffer.concat([small(random), small(random), Buffer.alloc(2)]);
    for (let at = 0; at <= data.length; at++) await compare(data, [data.subarray(0, at), data.subarray(at)], 64);
  });
});

/** node:zlib stops reading where no frame follows a frame, and says nothing of it. */
const behindFrames = ['Unknown frame descriptor', 'unexpected end of file'];

/**
 * By the same steps: of a frame that it has whole, with room for all, the library checks the length that the frame says, and else
 * it does not.
 */
test('zstd: taken and read as by node:zlib in the same pieces and buffers', async () => {
  await fuzz(async (random) => {
    const pieces = [...cut(random, zstdStream(random))];
    const room = pick(random, [64, 512, 65_536, 524_288]);
    const reader = createZstdDecompress({ chunkSize: room });
    for (const piece of pieces) reader.write(piece);
    reader.end();
    const [own, expected] = await Promise.all([ours(pieces, room, 'zstd'), outcome(reader)]);
    if (expected.problem === null && behindFrames.includes(own.problem ?? '')) return;
    assert.equal(own.problem === null, expected.problem === null, `${own.problem}, where zlib: ${expected.problem}`);
    if (own.problem === null) assert.ok(own.read.equals(expected.read), 'other bytes than those of zlib');
  });
});
