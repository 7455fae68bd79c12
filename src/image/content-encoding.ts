import { promisify } from 'node:util';
import { brotliDecompress, gunzip, inflate, zstdDecompress } from 'node:zlib';
import { Fault, isErrno } from '../base/fault.ts';

const decoders = {
  gzip: promisify(gunzip),
  'x-gzip': promisify(gunzip),
  deflate: promisify(inflate),
  br: promisify(brotliDecompress),
  zstd: promisify(zstdDecompress),
} as const;

/**
 * A document as it was before its server encoded it, which nobody asked for. What it says of an encoding may be untrue (a
 * store that calls every object gzip): then the bytes are what was sent. Layers are never decoded: their digest is of what
 * is sent.
 * @throws Fault ResourceExhausted above `limit` bytes.
 */
export async function decoded(data: Buffer, encoding: string, limit: number): Promise<Buffer> {
  const name = encoding.trim().toLowerCase();
  if (!Object.hasOwn(decoders, name)) return data;
  try {
    return await decoders[name as keyof typeof decoders](data, { maxOutputLength: limit });
  } catch (error) {
    if (!isErrno(error, 'ERR_BUFFER_TOO_LARGE')) return data;
    throw new Fault('ResourceExhausted', `A document is more than ${limit} bytes once its ${name} is undone`);
  }
}
