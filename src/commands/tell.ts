import { Fault, invalidArgument, isErrno, messageOf } from '../base/fault.ts';
import { visible } from '../base/text.ts';
import { writeWhole } from '../base/write-whole.ts';
import { sayAfterLog } from '../sys/log-output.ts';

/** A pager may stand still for as long as somebody reads. */
const patienceMs = Number.POSITIVE_INFINITY;

/** Writes what a command was asked for. Whoever reads no further (head) has what they wanted. @throws Fault ResourceExhausted */
export function tell(text: string): void {
  const { error } = writeWhole(1, Buffer.from(text), patienceMs);
  if (error === undefined || isErrno(error, 'EPIPE')) return;
  throw new Fault('ResourceExhausted', `Standard output cannot be written: ${messageOf(error)}`, { cause: error });
}

/** Of commands that write a file. @throws Fault InvalidArgument for what other programs take for standard output. */
export function refuseStandardOutput(file: string): void {
  if (file === '-')
    throw invalidArgument('It is written to a file, not to standard output: name one (./- for one of this name)');
}

/** Beside what was asked for. It may quote an image, or what is in a file. */
export function remark(text: string): void {
  writeWhole(2, Buffer.from(`berth: ${visible(text)}\n`), patienceMs);
}

/** Says it to whoever typed the command, if that is possible at all. */
export function complain(error: unknown): void {
  const text = `berth: ${visible(messageOf(error), 'lines')}\n`; // it may quote a file, a registry, a plugin
  if (!sayAfterLog(text, 50)) writeWhole(2, Buffer.from(text), patienceMs);
}
