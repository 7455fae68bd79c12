import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { Fault, isErrno } from '../base/fault.ts';
import { jsonOf } from '../base/parse.ts';
import type { ShimExit } from './types.ts';

const maxBytes = 4096;

/**
 * What the shim recorded of a process' end, or null if there is no such file. DataLoss if it is not what a shim
 * writes: the file is replaced in one step, so that is never a file half written.
 */
export async function readExitFile(path: string): Promise<ShimExit | null> {
  const text = await readStart(path);
  if (text === null) return null;
  const exit = parse(text);
  if (!exit) throw new Fault('DataLoss', `Exit file ${path} does not parse: ${JSON.stringify(text.slice(0, 200))}`);
  return exit;
}

async function readStart(path: string): Promise<string | null> {
  try {
    await using file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    const { buffer, bytesRead } = await file.read(Buffer.alloc(maxBytes), 0, maxBytes, 0);
    return buffer.toString('utf8', 0, bytesRead);
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return null;
    throw error;
  }
}

function parse(text: string): ShimExit | null {
  let json: unknown;
  try {
    json = jsonOf(text);
  } catch {
    return null;
  }
  if (typeof json !== 'object' || json === null) return null;
  const { v, key, pid, code, signal, oomKilled, at } = json as Record<string, unknown>;
  const time = typeof at === 'string' ? /^(\d{1,12})\.(\d{9})$/.exec(at) : null;
  if (v !== 1 || typeof key !== 'string' || typeof oomKilled !== 'boolean' || !time) return null;
  if (typeof pid !== 'number' || typeof code !== 'number' || typeof signal !== 'number') return null;
  return { key, pid, code, signal, oomKilled, at: millis(Number(time[1]), Number(time[2])) };
}

/** Milliseconds with a fraction, of a timespec. */
export const millis = (seconds: number, nanos: number): number => seconds * 1000 + nanos / 1e6;
