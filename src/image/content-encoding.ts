import { promisify } from 'node:util';
import {
  brotliDecompress,
  brotliDecompressSync,
  constants,
  createBrotliDecompress,
  createGunzip,
  createInflate,
  createZstdDecompress,
  gunzip,
  gunzipSync,
  inflate,
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

const gzip = {
  whole: promisify(gunzip),
  stream: createGunzip,
  begin: (start: Buffer) => gunzipSync(beginOf(start), some),
};
const decoders = {
  gzip,
  'x-gzip': gzip,
  deflate: {
    whole: promisify(inflate),
    stream: createInflate,
    begin: (start: Buffer) => inflateSync(beginOf(start), some),
  },
  br: {
    whole: promisify(brotliDecompress),
    stream: createBrotliDecompress,
    begin: (start: Buffer) =>
      brotliDecompressSync(beginOf(start), { ...undone, finishFlush: constants.BROTLI_OPERATION_FLUSH }),
  },
  zstd: {
    whole: promisify(zstdDecompress),
    stream: createZstdDecompress,
    // A block gives nothing before it is whole: 128 KiB at most (RFC 8878, 3.1.1.2).
    begin: (start: Buffer) => zstdDecompressSync(start, { ...undone, finishFlush: constants.ZSTD_e_flush }),
  },
} as const;

function decoderOf(encoding: string) {
  const name = encoding.trim().toLowerCase();
  return Object.hasOwn(decoders, name) ? decoders[name as keyof typeof decoders] : null;
}

/**
 * A document as it was before its server encoded it, which nobody asked for. What it says of an encoding may be untrue (a
 * store that calls every object gzip): then the bytes are what was sent.
 * @throws Fault ResourceExhausted above `limit` bytes.
 */
export async function decoded(data: Buffer, encoding: string, limit: number): Promise<Buffer> {
  const decoder = decoderOf(encoding);
  if (!decoder) return data;
  try {
    return await decoder.whole(data, { maxOutputLength: limit });
  } catch (error) {
    if (!isErrno(error, 'ERR_BUFFER_TOO_LARGE')) return data;
    throw new Fault('ResourceExhausted', `A document is more than ${limit} bytes once its ${encoding} is undone`);
  }
}

/**
 * The same for a body as it comes. `isIts`: whether bytes may be the begin of what is meant, by which a body that is encoded is
 * told from one that is only called so. How long it may become is for its reader to say.
 * @throws Fault DataLoss for one that is damaged.
 */
export async function* decodedChunks(
  source: AsyncIterable<Buffer>,
  encoding: string,
  isIts: (begin: Buffer) => boolean,
): AsyncGenerator<Buffer> {
  const decoder = decoderOf(encoding);
  if (!decoder) return yield* source;
  const { start, all } = await peek(source, 1);
  if (start.length === 0 || !isEncoded(start, decoder.begin, isIts)) return yield* all;
  try {
    yield* through(all, decoder.stream());
  } catch (error) {
    const isOfEncoding = error instanceof Error && 'code' in error && /^(Z|ZSTD|ERR_+BROTLI)_/.test(String(error.code));
    if (!isOfEncoding) throw error;
    throw new Fault('DataLoss', `It is called ${encoding}, and is not: ${messageOf(error)}`, { cause: error });
  }
}

function isEncoded(start: Buffer, undo: (start: Buffer) => Buffer, isIts: (begin: Buffer) => boolean): boolean {
  try {
    return isIts(undo(start)) || !isIts(start);
  } catch {
    return false;
  }
}
