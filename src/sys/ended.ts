import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { isErrno } from '../base/fault.ts';

/**
 * How a process ended that its parent has not asked after yet: the exit code, or 128 and the signal. Null for one that runs,
 * and where nothing is known of it.
 */
export function unreapedEnd(pid: number): number | null {
  if (hasNamespaces(pid)) return null;
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

/** One call of the kernel's, which looks at no file of the process's own: what has ended has none any more. */
function hasNamespaces(pid: number): boolean {
  try {
    readlinkSync(`/proc/${pid}/ns/net`);
    return true;
  } catch {
    return false;
  }
}
