import type { Duplex } from 'node:stream';
import { promisify } from 'node:util';
import {
  brotliDecompress,
  brotliDecompressSync,
  constants,
  createBrotliDecompress,
  createGunzip,
  createInflate,
  createInflateRaw,
  createZstdDecompress,
  gunzip,
  gunzipSync,
  inflate,
  inflateRaw,
  inflateRawSync,
  inflateSync,
  zstdDecompress,
  zstdDecompressSync,
} from 'node:zlib';
import { Fault, isErrno, messageOf } from '../base/fault.ts';
import { peek, through } from './byte-streams.ts';

/** What the begin of a body begins with; enough of it for a few bytes, little enough to be done at once. */
const undone = { maxOutputLength: 2 * 1024 * 1024 };
const some = { ...undone, finishFlush: constants.Z_SYNC_FLUSH };
const beginOf = (start: Buffer) => start.subarray(0, 1024);

type Decoder = {
  readonly whole: (data: Buffer, options: { maxOutputLength: number }) => Promise<Buffer>;
  readonly stream: () => Duplex;
  readonly begin: (start: Buffer) => Buffer;
};

/** One of zlib's three forms. */
const ofZlib = (
  whole: Decoder['whole'],
  stream: Decoder['stream'],
  atOnce: (data: Buffer, options: typeof some) => Buffer,
): Decoder => ({ whole, stream, begin: (start) => atOnce(beginOf(start), some) });
const gzip = ofZlib(promisify(gunzip), createGunzip, gunzipSync);
const zlib = ofZlib(promisify(inflate), createInflate, inflateSync);
/** What many servers call deflate, without the frame that the name means (RFC 9110, 8.4.1.2). */
const rawDeflate = ofZlib(promisify(inflateRaw), createInflateRaw, inflateRawSync);
const brotli: Decoder = {
  whole: promisify(brotliDecompress),
  stream: createBrotliDecompress,
  begin: (start) => brotliDecompressSync(beginOf(start), { ...undone, finishFlush: constants.BROTLI_OPERATION_FLUSH }),
};
const zstd: Decoder = {
  whole: promisify(zstdDecompress),
  stream: createZstdDecompress,
  // A block gives nothing before it is whole: 128 KiB at most (RFC 8878, 3.1.1.2).
  begin: (start) => zstdDecompressSync(start, { ...undone, finishFlush: constants.ZSTD_e_flush }),
};

/** By its name, and how the bytes begin that it is said of. */
const decoders: ReadonlyMap<string, (start: Buffer) => Decoder> = new Map<string, (start: Buffer) => Decoder>([
  ['gzip', () => gzip],
  ['x-gzip', () => gzip],
  ['deflate', (start) => (isZlib(start) ? zlib : rawDeflate)],
  ['br', () => brotli],
  ['zstd', () => zstd],
]);

/** Deflate in a window of at most 32 KiB, and a sum of both bytes (RFC 1950, 2.2). */
const isZlib = (start: Buffer): boolean =>
  start.length >= 2 && (start[0]! & 0x8f) === 8 && start.readUInt16BE(0) % 31 === 0;

/** One upon the other; real servers have two at most. More, or longer names, are as one that is not known. */
const mostEncodings = 5;
const longestHeader = 200;

/** The encodings of a header, the outermost first: it names them in the order in which they were done. */
function encodingsOf(header: string | undefined): string[] {
  const names = (header ?? '')
    .slice(0, longestHeader)
    .split(',')
    .map((name) => name.trim().toLowerCase());
  return names.filter((name) => name !== '' && name !== 'identity').reverse();
}

export const isCalledEncoded = (header: string | undefined): boolean => encodingsOf(header).length > 0;

/** Whether what the header names can be undone here. */
export function canDecode(header: string | undefined): boolean {
  const names = encodingsOf(header);
  return names.length <= mostEncodings && names.every((name) => decoders.has(name));
}

/** To be thrown of what was certainly sent so. */
export const cannotDecode = (what: string, header: string): Fault =>
  new Fault('Unimplemented', `${what} is encoded by ${JSON.stringify(header.slice(0, 100))}, which is not undone here`);

/**
 * A document as it was before its server encoded it, which nobody asked for. What it says of an encoding may be untrue (a
 * store that calls every object gzip): then the bytes are what was sent.
 * @throws Fault ResourceExhausted above `limit` bytes; Unimplemented for what cannot be undone and is no JSON.
 */
export async function decoded(data: Buffer, header: string, limit: number): Promise<Buffer> {
  if (!canDecode(header)) {
    if (/^\s*[[{]/.test(data.toString('latin1', 0, 64))) return data;
    throw cannotDecode('A document', header);
  }
  let now = data;
  for (const name of encodingsOf(header)) {
    const decoder = decoders.get(name)!(now);
    try {
      now = await decoder.whole(now, { maxOutputLength: limit });
    } catch (error) {
      if (!isErrno(error, 'ERR_BUFFER_TOO_LARGE')) return now;
      throw new Fault('ResourceExhausted', `A document is more than ${limit} bytes once its ${name} is undone`);
    }
  }
  return now;
}

/**
 * The same for a body as it comes. `isIts`: whether bytes may be the begin of what is meant, by which a body that is encoded is
 * told from one that is only called so. How long it may become is for its reader to say.
 * @throws Fault DataLoss for one that is damaged, Unimplemented for one that cannot be undone.
 */
export async function* decodedChunks(
  source: AsyncIterable<Buffer>,
  header: string,
  isIts: (begin: Buffer) => boolean,
): AsyncGenerator<Buffer> {
  const { start, all } = await peek(source, 1);
  let chunks = all;
  if (canDecode(header)) for (const { stream } of doneTo(start, header, isIts)) chunks = through(chunks, stream());
  else if (!isIts(start)) {
    for await (const _ of all) break; // which gives its source back
    throw cannotDecode('It', header);
  }
  try {
    yield* chunks;
  } catch (error) {
    const isOfEncoding = error instanceof Error && 'code' in error && /^(Z|ZSTD|ERR_+BROTLI)_/.test(String(error.code));
    if (!isOfEncoding) throw error;
    throw new Fault('DataLoss', `It is called ${header}, and is not: ${messageOf(error)}`, { cause: error });
  }
}

/**
 * What was done to a body that begins so, the outermost first: as many of the encodings that it is called as lead to what is
 * meant, or as can be undone if none does.
 */
function doneTo(start: Buffer, header: string, isIts: (begin: Buffer) => boolean): Decoder[] {
  const undoing: Decoder[] = [];
  let its = isIts(start) ? 0 : -1;
  let begin = start;
  for (const name of encodingsOf(header)) {
    const decoder = decoders.get(name)!(begin);
    try {
      begin = decoder.begin(begin);
    } catch (error) {
      if (!isErrno(error, 'ERR_BUFFER_TOO_LARGE')) break;
      begin = zero; // nothing that is compressed becomes so much more
    }
    if (begin.length === 0) break;
    undoing.push(decoder);
    if (isIts(begin)) its = undoing.length;
  }
  return its < 0 ? undoing : undoing.slice(0, its);
}

const zero = Buffer.alloc(1);
