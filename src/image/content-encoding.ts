import { pipeline } from 'node:stream/promises';
import { promisify } from 'node:util';
import {
  brotliDecompress,
  createBrotliDecompress,
  createGunzip,
  createInflate,
  createZstdDecompress,
  gunzip,
  inflate,
  zstdDecompress,
} from 'node:zlib';
import { Fault, isErrno, messageOf } from '../base/fault.ts';

const gzip = { whole: promisify(gunzip), stream: createGunzip };
const decoders = {
  gzip,
  'x-gzip': gzip,
  deflate: { whole: promisify(inflate), stream: createInflate },
  br: { whole: promisify(brotliDecompress), stream: createBrotliDecompress },
  zstd: { whole: promisify(zstdDecompress), stream: createZstdDecompress },
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
 * The same for a body of which it is known that it was encoded, as it comes; how long it may become is for its reader to say.
 * What has another encoding passes as it is.
 * @throws Fault DataLoss for one that is damaged.
 */
export async function* decodedChunks(source: AsyncIterable<Buffer>, encoding: string): AsyncGenerator<Buffer> {
  const stream = decoderOf(encoding)?.stream();
  if (!stream) return yield* source;
  const feeding = pipeline(source, stream);
  feeding.catch(() => {}); // who reads the stream hears of it
  try {
    for await (const chunk of stream as AsyncIterable<Buffer>) yield chunk;
    await feeding;
  } catch (error) {
    const isOfEncoding = error instanceof Error && 'code' in error && /^(Z|ZSTD|ERR_+BROTLI)_/.test(String(error.code));
    if (!isOfEncoding) throw error;
    throw new Fault('DataLoss', `It is called ${encoding}, and is not: ${messageOf(error)}`, { cause: error });
  } finally {
    stream.destroy();
    await feeding.catch(() => {});
  }
}
