import { writeSync } from 'node:fs';
import { isErrno } from './fault.ts';

/** How far a write came, and what ended it before the end. */
export type Written = { readonly bytes: number; readonly error?: unknown };

const pauseMs = 5;

/** Writes to what may take a part at a time, or nothing for now, which is waited for so long. Throws nothing. */
export function writeWhole(fd: number, data: Buffer, patienceMs: number, write: typeof writeSync = writeSync): Written {
  const end = performance.now() + patienceMs;
  let bytes = 0;
  while (bytes < data.length) {
    try {
      bytes += write(fd, data, bytes);
    } catch (error) {
      if (!isErrno(error, 'EAGAIN') || performance.now() > end) return { bytes, error };
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, pauseMs);
    }
  }
  return { bytes };
}
