import { writeWhole } from './write-whole.ts';

/** A reader of the log that takes nothing for so long loses lines, and is waited for no more until it does: everybody else waits meanwhile. */
const patienceMs = 1000;
const newline = 0x0a;

/**
 * What lines go through to a descriptor. A disk that is full, or a reader that went, is no reason to end, nor to be silent once it
 * is back: what was lost is told then. A line of which a part came is one of the lost.
 */
export function lineWriter(fd: number, write: typeof writeWhole = writeWhole): (line: string) => void {
  let lost = 0;
  let isTorn = false;
  return (line) => {
    const told = lost === 0 ? '' : `${isTorn ? '\n' : ''}${lossLine(lost)}`;
    const before = Buffer.from(told);
    const all = Buffer.concat([before, Buffer.from(line)]);
    const { bytes } = write(fd, all, lost === 0 ? patienceMs : 0);
    if (bytes >= before.length) lost = 0;
    if (bytes < all.length) lost++;
    if (bytes > 0) isTorn = all[bytes - 1] !== newline;
  };
}

/** As the log's other lines, at the level of a warning. */
const lossLine = (lines: number): string =>
  `${JSON.stringify({ level: 40, time: new Date().toISOString(), lines, msg: 'Lines of this log could not be written' })}\n`;
