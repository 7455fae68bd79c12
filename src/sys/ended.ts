import { closeSync, readdirSync, readFileSync } from 'node:fs';
import { isErrno } from '../base/fault.ts';
import { loadAddon } from './addon.ts';
import { Descriptor } from './streams.ts';

const addon = loadAddon<{ openProcess(pid: number): number }>();

/**
 * Calls `ended` once when the process, whoever's child, has ended, or is there no more; until then it costs a descriptor. What is
 * returned ends that, and may be called again. @throws Error with an errno where the daemon lacks what it takes.
 */
export function whenEnded(pid: number, ended: () => void): () => void {
  const watched = openProcess(pid);
  let over = false;
  void Promise.resolve(watched?.readable()).then(() => {
    if (over) return;
    watched?.close();
    ended();
  });
  return () => {
    over = true;
    watched?.close();
  };
}

function openProcess(pid: number): Descriptor | null {
  let fd: number;
  try {
    fd = addon.openProcess(pid);
  } catch (error) {
    if (isErrno(error, 'ESRCH')) return null;
    throw error;
  }
  try {
    return new Descriptor(fd);
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/**
 * How a process ended that its parent has not asked after yet: the exit code, or 128 and the signal. Null for one that runs,
 * and where nothing is known of it.
 */
export function unreapedEnd(pid: number): number | null {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    // The first thread may be over while others go on.
    if (fields[0] !== 'Z' || readdirSync(`/proc/${pid}/task`).length !== 1) return null;
    const status = Number(fields[49]); // field 52, as wait(2) has it
    return (status & 0x7f) === 0 ? (status >> 8) & 0xff : 128 + (status & 0x7f);
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ESRCH')) return null;
    throw error;
  }
}
