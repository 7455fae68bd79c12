import { createZstdDecompress } from 'node:zlib';
import { Fault, messageOf } from '../base/fault.ts';
import { letGo } from '../base/let-go.ts';
import { pieceBytes } from '../base/pieces.ts';
import { algorithmOf, type Digest } from '../model/ids.ts';
import { gunzip } from '../sys/inflate.ts';
import { peek, through } from './byte-streams.ts';
import { Digester } from './digest.ts';
import { translateLayerError } from './layer-errors.ts';
import type { LayerLimits } from './layer-form.ts';
import { type LayerNotes, LayerWriter } from './layer-writer.ts';
import { TarReader } from './tar.ts';

export type UnpackJob = {
  /** The empty directory that becomes the layer's tree. */
  readonly path: string;
  /** Digest of the blob as fetched, or null where nobody stated one (a saved archive). */
  readonly digest: Digest | null;
  /** Digest of the blob once decompressed, from the image's config. */
  readonly diffId: Digest;
  /** Absent: a layer. Else the blob is a file, to be there as it is; only `digest` is of it. */
  readonly file?: string;
  readonly limits: LayerLimits;
  /** Trees of the layers below it, top first, on which it is applied in order. Absent: it is unpacked by itself. */
  readonly lowers?: readonly string[];
};

export type Compression = 'gzip' | 'zstd' | 'none';

/** By the first four bytes, whatever the media type says: the digests say whether it is the right blob. */
export function compressionOf(start: Buffer): Compression {
  if (start.length >= 2 && start.readUInt16BE(0) === 0x1f8b) return 'gzip';
  if (start.length < 4) return 'none';
  const magic = start.readUInt32LE(0);
  // A zstd frame, or a skippable one (RFC 8878, 3.1.2), which may come first.
  return magic === 0xfd2fb528 || (magic & 0xfffffff0) >>> 0 === 0x184d2a50 ? 'zstd' : 'none';
}

/** Compressions that no registry's clients take, and how such a file begins. */
const foreignCompressions: readonly (readonly [name: string, begin: Buffer, undo: string])[] = [
  ['xz', Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]), 'xz -d'],
  ['bzip2', Buffer.from('BZh'), 'bzip2 -d'],
  ['lz4', Buffer.from([0x04, 0x22, 0x4d, 0x18]), 'lz4 -d'],
];
/** "BZh" may begin a file's name too: a block of bzip2 follows a digit. */
const isBzip2 = (start: Buffer): boolean => /^BZh[1-9]1AY&SY/.test(start.toString('latin1', 0, 10));
/** As many bytes as tell. */
export const magicBytes = 10;

/** @throws Fault Unimplemented for a compression that is none of an image's, by its name. */
export function refuseForeign(start: Buffer, what: string): void {
  for (const [name, begin, undo] of foreignCompressions) {
    if (!start.subarray(0, begin.length).equals(begin) || (name === 'bzip2' && !isBzip2(start))) continue;
    throw new Fault('Unimplemented', `${what} is compressed by ${name}, which is not read: undo it first (${undo})`);
  }
}

/** Large enough that the thread pool's round trip does not show, and one ahead: it inflates while this thread writes. */
const outputBytes = 512 * 1024;
/** For a blob that is a single piece: images of many small layers need no more. */
const smallOutputBytes = 64 * 1024;

/**
 * What a source holds once decompressed, all members and frames of it. A chunk is valid until the one after it is asked for.
 * @throws Error with a code of node:zlib's for what is damaged.
 */
export function decompressed(
  source: AsyncIterable<Buffer>,
  compression: Exclude<Compression, 'none'>,
  isSmall = false,
): AsyncIterable<Buffer> {
  const chunkBytes = isSmall ? smallOutputBytes : outputBytes;
  return compression === 'gzip' ? gunzip(source, chunkBytes) : unzstd(source, chunkBytes);
}

async function* unzstd(source: AsyncIterable<Buffer>, chunkSize: number): AsyncGenerator<Buffer> {
  // Every chunk fills the input: the next one is asked for only when it was consumed, as its memory is gone then.
  const options = { chunkSize, readableHighWaterMark: 2 * chunkSize, writableHighWaterMark: 1 };
  let last: Buffer | null = null;
  for await (const chunk of through(source, createZstdDecompress(options))) {
    // zlib takes a new buffer when it has filled one to its end.
    if (last && last.buffer !== chunk.buffer) letGo(last);
    last = chunk;
    yield chunk;
  }
  if (last) letGo(last);
}

/**
 * Unpacks a layer blob into `job.path` and checks both digests on the way; what is there is to be used only if this
 * returns. `onStep` hears of each step forward, however small.
 * @throws Fault DataLoss for a wrong digest or a damaged stream, InvalidArgument for a bad archive, ResourceExhausted; LayerDoubt
 * if it has to be unpacked on those below it.
 */
export async function unpackLayer(
  source: AsyncIterable<Buffer>,
  job: UnpackJob,
  onStep: () => void = () => {},
): Promise<LayerNotes> {
  const { start, all } = await peek(source, magicBytes);
  refuseForeign(start, `The layer ${job.digest ?? job.diffId}`);
  const compression = compressionOf(start);
  const isCompressed = compression !== 'none';
  const inner = new Digester(algorithmOf(job.diffId));
  const outer = outerDigester(job, isCompressed);
  using writer = new LayerWriter(job.path, job.limits, job.lowers, onStep);
  const reader = new TarReader(writer);
  const ratio = new RatioGuard(job.limits.maxRatio);
  const fetched = (chunk: Buffer) => {
    outer?.update(chunk);
    ratio.fetched(chunk.length);
  };
  const blob = tap(all, fetched);
  try {
    const chunks = isCompressed ? decompressed(blob, compression, start.length < pieceBytes) : blob;
    for await (const chunk of chunks) {
      inner.update(chunk);
      const before = writer.holes;
      reader.push(chunk);
      if (isCompressed) ratio.unpacked(chunk.length - (writer.holes - before));
      onStep();
    }
  } catch (error) {
    throw translateStreamError(error, job);
  }
  const diffId = inner.digest();
  expectDigest('Layer', job.digest, outer?.digest() ?? diffId);
  expectDigest('Unpacked layer', job.diffId, diffId);
  reader.finish();
  try {
    return writer.finish();
  } catch (error) {
    throw translateLayerError(error, job.digest ?? job.diffId, job.path);
  }
}

/** What verifies the blob as it comes, or null where nothing is stated of it or the diffID's digester computes the same. */
function outerDigester({ digest, diffId }: UnpackJob, isCompressed: boolean): Digester | null {
  if (digest === null || (!isCompressed && algorithmOf(digest) === algorithmOf(diffId))) return null;
  return new Digester(algorithmOf(digest));
}

/** Below this a bomb does no harm. */
const ratioFrom = 2 ** 30;

/** Stops a blob that unpacks to far more than real layers do, but for zeros in files: those take no disk, and `maxBytes` bounds their time. */
class RatioGuard {
  readonly #most: number;
  #in = 0;
  #out = 0;

  constructor(most: number) {
    this.#most = most;
  }

  fetched(bytes: number): void {
    this.#in += bytes;
  }

  unpacked(bytes: number): void {
    this.#out += bytes;
    if (this.#out < ratioFrom || this.#out <= this.#in * this.#most) return;
    throw new Fault(
      'ResourceExhausted',
      `The layer unpacks to more than ${this.#most} times its size (images.limits.max_ratio)`,
    );
  }
}

async function* tap(source: AsyncIterable<Buffer>, see: (chunk: Buffer) => void): AsyncGenerator<Buffer> {
  for await (const chunk of source) {
    see(chunk);
    yield chunk;
  }
}

/** @throws Fault DataLoss unless the digests are equal; null expects nothing. */
export function expectDigest(what: string, expected: string | null, actual: string): void {
  if (expected === null || expected === actual) return;
  throw new Fault('DataLoss', `${what} has digest ${actual}, expected ${expected}; its registry or archive is damaged`);
}

function translateStreamError(error: unknown, job: UnpackJob): unknown {
  const name = job.digest ?? job.diffId;
  return translateLayerError(translateDamage(error, `Layer ${name}`), name, job.path);
}

/** What is wrong with the compression of `what`, in the words of its caller; any other error as it is. */
export function translateDamage(error: unknown, what: string): unknown {
  const isOfCompression = error instanceof Error && 'code' in error && /^(Z_|ZSTD_)/.test(String(error.code));
  if (!isOfCompression) return error;
  return new Fault('DataLoss', `${what} does not decompress: ${messageOf(error)}`, { cause: error });
}
