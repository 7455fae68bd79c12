import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { Fault } from '../base/fault.ts';

/**
 * Reads a file that somebody else may have written, to the last byte. A FIFO, a device or a directory in its place is not
 * waited for. @throws Fault ResourceExhausted if it has more than `most` bytes, FailedPrecondition if it is no regular
 * file; Error with an errno code.
 */
export async function readBytes(path: string, most: number): Promise<Buffer> {
  const { file, size } = await openRegular(path);
  await using _ = file;
  // The size is a guess: it may grow meanwhile, and files of /proc say 0. It saves a read that would find the end.
  const parts: Buffer[] = [];
  for (let total = 0, want = Math.min(size, most) + 1; total <= most; want = 64 * 1024) {
    const { bytesRead, buffer } = await file.read(Buffer.allocUnsafe(Math.min(want, most + 1 - total)), 0);
    parts.push(buffer.subarray(0, bytesRead));
    total += bytesRead;
    if (bytesRead === 0 || (total === size && bytesRead < want)) return Buffer.concat(parts, total);
  }
  throw new Fault('ResourceExhausted', `${path} has more than ${most} bytes`);
}

/** The same as text. */
export const readText = async (path: string, most: number): Promise<string> => (await readBytes(path, most)).toString();

/** The last bytes of a file, at most `most` of them. Errors as above, but for the size. */
export async function readEnd(path: string, most: number): Promise<Buffer> {
  const { file, size } = await openRegular(path);
  await using _ = file;
  const { bytesRead, buffer } = await file.read(Buffer.alloc(Math.min(size, most)), {
    position: Math.max(size - most, 0),
  });
  return buffer.subarray(0, bytesRead);
}

async function openRegular(path: string): Promise<{ file: FileHandle; size: number }> {
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  const facts = await file.stat();
  if (facts.isFile()) return { file, size: facts.size };
  await file.close();
  throw new Fault('FailedPrecondition', `${path} is no regular file`);
}
