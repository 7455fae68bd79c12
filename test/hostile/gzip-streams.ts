// Random streams of gzip: as compressors make them, as they could, and damaged.
import { constants, crc32, deflateRawSync } from 'node:zlib';
import { damaged, interesting, pick, type Random } from './fuzz-support.ts';

const { Z_DEFAULT_STRATEGY, Z_FILTERED, Z_HUFFMAN_ONLY, Z_RLE, Z_FIXED } = constants;

const flag = { check: 2, extra: 4, name: 8, comment: 16 };

const bytes = (random: Random, length: number, of = 256): Buffer =>
  Buffer.from(Array.from({ length }, () => random(of)));

/** Lengths that lie around those that matter to buffers and windows, and small ones. */
function lengthOf(random: Random): number {
  const around = () => pick(random, [64, 258, 4096, 32_768, 65_535, 100_000]) + random(9) - 4;
  return random(4) === 0 ? around() : random(600);
}

/** Noise, few different bytes, repeats near and far, zeros. */
export function content(random: Random): Buffer {
  const parts = Array.from({ length: random(4) }, () => {
    const length = lengthOf(random);
    switch (random(4)) {
      case 0:
        return bytes(random, Math.min(length, 5000));
      case 1:
        return bytes(random, Math.min(length, 5000), 3);
      case 2:
        return Buffer.alloc(length, bytes(random, 1 + random(300)));
      default:
        return Buffer.alloc(length);
    }
  });
  return Buffer.concat(random(3) === 0 ? [...parts, ...parts] : parts);
}

function deflated(random: Random, data: Buffer): Buffer {
  return deflateRawSync(data, {
    level: random(10),
    memLevel: 1 + random(9),
    windowBits: 9 + random(7),
    strategy: pick(random, [Z_DEFAULT_STRATEGY, Z_FILTERED, Z_HUFFMAN_ONLY, Z_RLE, Z_FIXED]),
  });
}

/** Which parts; one in sixty of those that nobody knows. */
const flagsOf = (random: Random): number => (random(3) === 0 ? random(random(20) === 0 ? 256 : 32) : 0);

const zeroEnded = (random: Random): Buffer => Buffer.from(`${'n'.repeat(random(8) === 0 ? 3000 : random(20))}\0`);

/** A header with any of its parts (RFC 1952, 2.3); its own checksum is wrong at times. */
function header(random: Random, flags: number): Buffer {
  const parts: Buffer[] = [Buffer.from([0x1f, 0x8b, 8, flags, ...bytes(random, 6)])];
  if (flags & flag.extra) {
    const extra = bytes(random, random(20) === 0 ? random(65_536) : random(30));
    const length = Buffer.alloc(2);
    length.writeUInt16LE(extra.length);
    parts.push(length, extra);
  }
  if (flags & flag.name) parts.push(zeroEnded(random));
  if (flags & flag.comment) parts.push(zeroEnded(random));
  if (flags & flag.check) {
    const check = Buffer.alloc(2);
    check.writeUInt16LE((crc32(Buffer.concat(parts)) ^ (random(10) === 0 ? 1 << random(16) : 0)) & 0xffff);
    parts.push(check);
  }
  return Buffer.concat(parts);
}

function trailer(data: Buffer): Buffer {
  const result = Buffer.alloc(8);
  result.writeUInt32LE(crc32(data));
  result.writeUInt32LE(data.length >>> 0, 4);
  return result;
}

export function member(random: Random, flags = flagsOf(random)): Buffer {
  const data = content(random);
  const end = trailer(data);
  if (random(15) === 0) end[random(8)]! ^= 1 << random(8);
  return Buffer.concat([header(random, flags), deflated(random, data), end]);
}

/** What may stand behind a member: mostly nothing. */
function tail(random: Random): Buffer {
  switch (random(8)) {
    case 0:
      return Buffer.alloc(1 + random(1000));
    case 1:
      return bytes(random, 1 + random(40));
    case 2:
      return Buffer.concat([Buffer.alloc(1 + random(3)), member(random)]);
    case 3:
      return member(random).subarray(0, random(30));
    default:
      return Buffer.alloc(0);
  }
}

/** Members, what is behind them, whole or damaged. */
export function stream(random: Random): Buffer {
  const members = Array.from({ length: 1 + (random(3) === 0 ? random(4) : 0) }, () => member(random));
  const whole = Buffer.concat([...members, tail(random)]);
  switch (random(4)) {
    case 0:
      return damaged(whole, random, 3);
    case 1:
      return whole.subarray(0, random(whole.length + 1));
    default:
      return whole;
  }
}

/** The first bytes of a member: its trailer is to come, with the checksum of whatever a reader makes of them. */
export type Unsealed = { readonly begin: Buffer; readonly sealed: (read: Buffer) => Buffer };

/** Deflate's own data, damaged where its tables are, of a member whose checksum will not give it away. */
export function unsealed(random: Random): Unsealed {
  const body = deflated(random, content(random));
  for (let left = 1 + random(3); left > 0 && body.length > 0; left--) {
    const at = random(Math.min(body.length, random(2) === 0 ? 60 : body.length));
    if (random(2) === 0) body[at]! ^= 1 << random(8);
    else body[at] = random(2) === 0 ? pick(random, interesting) : random(256);
  }
  const begin = Buffer.concat([Buffer.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3]), body]);
  return { begin, sealed: (read) => Buffer.concat([begin, trailer(read)]) };
}

/** Cut into pieces: of one byte, of any length, or not at all. */
export function* cut(random: Random, data: Buffer): Generator<Buffer> {
  const longest = pick(random, [1, 3, 50, 5000, data.length + 1]);
  const least = data.length > 20_000 ? 200 : 1;
  for (let at = 0; at < data.length; ) {
    const length = least + random(longest);
    yield data.subarray(at, at + length);
    at += length;
  }
}
