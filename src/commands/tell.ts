import { Fault, isErrno, messageOf } from '../base/fault.ts';
import { visible } from '../base/text.ts';
import { writeWhole } from '../base/write-whole.ts';

/** A pager may stand still for as long as somebody reads. */
const patienceMs = Number.POSITIVE_INFINITY;

/** Writes what a command was asked for. Whoever reads no further (head) has what they wanted. @throws Fault ResourceExhausted */
export function tell(text: string): void {
  const { error } = writeWhole(1, Buffer.from(text), patienceMs);
  if (error === undefined || isErrno(error, 'EPIPE')) return;
  throw new Fault('ResourceExhausted', `Standard output cannot be written: ${messageOf(error)}`, { cause: error });
}

/** Says it to whoever typed the command, if that is possible at all. */
export function complain(error: unknown): void {
  const text = visible(messageOf(error), 'lines'); // it may quote a file, a registry, a plugin
  writeWhole(2, Buffer.from(`berth: ${text}\n`), patienceMs);
}
