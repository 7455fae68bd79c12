import { Fault, messageOf } from '../base/fault.ts';
import { pieceBytes } from '../base/pieces.ts';
import { algorithmOf, type Digest } from '../model/ids.ts';
import { type CompressionFormat, Decoder, type DecoderOptions } from '../sys/decoder.ts';
import { peek } from './byte-streams.ts';
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

export type Compression = CompressionFormat | 'none';

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

/** Large enough that waking who reads it does not show. */
const outputBytes = 256 * 1024;
/** For a blob that is a single piece: images of many small layers need no more. */
const smallOutputBytes = 64 * 1024;

/**
 * What a source holds once decompressed, all members and frames of it. A chunk is valid until the one after it is asked for.
 * @throws Error with a code of node:zlib's for what is damaged.
 */
export const decompressed = (
  source: AsyncIterable<Buffer>,
  format: CompressionFormat,
  {
    isSmall = false,
    ...options
  }: Partial<Pick<DecoderOptions, 'digest' | 'taken'>> & { readonly isSmall?: boolean } = {},
): Decoder => new Decoder(source, { ...options, format, chunkBytes: isSmall ? smallOutputBytes : outputBytes });

/** The pieces of a blob as they come. One stays as it is, also while the next ones are asked for, until it was taken. */
export interface BlobPieces extends AsyncIterable<Buffer> {
  taken?(piece: Uint8Array): void;
}

/**
 * Unpacks a layer blob into `job.path` and checks both digests on the way; what is there is to be used only if this
 * returns. `onStep` hears of each step forward, however small.
 * @throws Fault DataLoss for a wrong digest or a damaged stream, InvalidArgument for a bad archive, ResourceExhausted; LayerDoubt
 * if it has to be unpacked on those below it.
 */
export async function unpackLayer(
  source: BlobPieces,
  job: UnpackJob,
  onStep: () => void = () => {},
): Promise<LayerNotes> {
  const { start, all } = await peek(source, magicBytes);
  refuseForeign(start, `The layer ${job.digest ?? job.diffId}`);
  using writer = new LayerWriter(job.path, job.limits, job.lowers, onStep);
  const reader = new TarReader(writer);
  const ratio = new RatioGuard(job.limits.maxRatio);
  const taken = (piece: Uint8Array) => source.taken?.(piece);
  const layer = layerContent(all, start, job, { taken, fetched: (bytes) => ratio.fetched(bytes) });
  const inner = new Digester(algorithmOf(job.diffId));
  try {
    for await (const chunk of layer.content) {
      inner.update(chunk);
      const before = writer.holes;
      reader.push(chunk);
      if (layer.isCompressed) ratio.unpacked(chunk.length - (writer.holes - before));
      onStep();
    }
  } catch (error) {
    throw translateStreamError(error, job);
  }
  const diffId = inner.digest();
  expectDigest('Layer', job.digest, layer.digest() ?? diffId);
  expectDigest('Unpacked layer', job.diffId, diffId);
  reader.finish();
  try {
    return writer.finish();
  } catch (error) {
    throw translateLayerError(error, job.digest ?? job.diffId, job.path);
  }
}

type LayerContent = {
  readonly isCompressed: boolean;
  readonly content: AsyncIterable<Buffer>;
  /** What verifies the blob as it came, at its end; null where nothing is stated of it or the diffID's digest is the same. */
  readonly digest: () => Digest | null;
};
type Hearer = { readonly taken: (piece: Uint8Array) => void; readonly fetched: (bytes: number) => void };

function layerContent(
  blob: AsyncIterable<Buffer>,
  start: Buffer,
  { digest, diffId }: UnpackJob,
  { taken, fetched }: Hearer,
): LayerContent {
  const algorithm = digest && algorithmOf(digest);
  const compression = compressionOf(start);
  if (compression !== 'none') {
    const options = { isSmall: start.length < pieceBytes, digest: algorithm, taken };
    const content = decompressed(
      tap(blob, (piece) => fetched(piece.length)),
      compression,
      options,
    );
    return { isCompressed: true, content, digest: () => algorithm && (`${algorithm}:${content.digest()}` as Digest) };
  }
  const digester = algorithm && algorithm !== algorithmOf(diffId) ? new Digester(algorithm) : null;
  const content = thenTaken(
    tap(blob, (piece) => digester?.update(piece)),
    taken,
  );
  return { isCompressed: false, content, digest: () => digester?.digest() ?? null };
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

async function* tap(source: AsyncIterable<Buffer>, see: (piece: Buffer) => void): AsyncGenerator<Buffer> {
  for await (const piece of source) {
    see(piece);
    yield piece;
  }
}

async function* thenTaken(source: AsyncIterable<Buffer>, taken: (piece: Buffer) => void): AsyncGenerator<Buffer> {
  for await (const piece of source) {
    yield piece;
    taken(piece);
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

/** The library's word for a window above 128 MiB, which is nothing that is damaged (RFC 8878, 3.1.1.1.2: a decoder may set a limit). */
const outOfWindow = 'Frame requires too much memory for decoding';

/** What is wrong with the compression of `what`, in the words of its caller; any other error as it is. */
export function translateDamage(error: unknown, what: string): unknown {
  const isOfCompression = error instanceof Error && 'code' in error && /^(Z_|ZSTD_)/.test(String(error.code));
  if (!isOfCompression) return error;
  const kind = messageOf(error) === outOfWindow ? 'ResourceExhausted' : 'DataLoss';
  return new Fault(kind, `${what} does not decompress: ${messageOf(error)}`, { cause: error });
}
