import { Fault } from '../base/fault.ts';

/** An archive that says something it cannot mean; the blob is what it claims to be, so a retry does not help. */
export const badArchive = (message: string): Fault => new Fault('InvalidArgument', `Archive: ${message}`);

/** A hard link at `name` that cannot be; `why` says what its other end is. */
export const badLink = (name: string, existing: string, why: string): Fault =>
  badArchive(`${JSON.stringify(name)} is a link to ${JSON.stringify(existing)}, ${why}`);

export const blockSize = 512;

/** One header block as it stands. Names are latin1 strings: one character, one byte. */
export type Header = {
  readonly type: string;
  readonly name: string;
  readonly link: string;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  readonly mtime: number;
  readonly major: number;
  readonly minor: number;
};

/** Decodes a header block of any dialect (v7, ustar, star, GNU); null for a block of zeros, which ends an archive. */
export function parseHeader(block: Buffer): Header | null {
  if (!checksumMatches(block)) {
    if (isZero(block)) return null;
    throw badArchive('a header has a wrong checksum');
  }
  const posix = block.toString('latin1', 257, 263) === 'ustar\0';
  const gnu = block.toString('latin1', 257, 265) === 'ustar  \0';
  const star = posix && block.toString('latin1', 508, 512) === 'tar\0';
  const prefix = posix ? text(block, 345, star ? 476 : 500) : gnu ? mistakenPrefix(block) : '';
  const name = text(block, 0, 100);
  const devices = posix || gnu;
  return {
    type: String.fromCharCode(block[156]!),
    name: prefix ? `${prefix}/${name}` : name,
    link: text(block, 157, 257),
    mode: number(block, 100, 108, 'mode'),
    uid: number(block, 108, 116, 'uid'),
    gid: number(block, 116, 124, 'gid'),
    size: number(block, 124, 136, 'size'),
    mtime: number(block, 136, 148, 'mtime'),
    major: devices ? number(block, 329, 337, 'device number') : 0,
    minor: devices ? number(block, 337, 345, 'device number') : 0,
  };
}

/**
 * Go before 1.8 (Docker before 1.13) called some headers GNU's, as of owners beyond 2^21, and put the beginning of a long name where
 * POSIX has it. There GNU has two times: it is told, as Go tells it, by these being none and the text being ASCII.
 */
function mistakenPrefix(block: Buffer): string {
  const areTimes = [345, 357].every(
    (at) => block[at] === 0 || block[at]! & 0x80 || /^ *[0-7]* *$/.test(text(block, at, at + 12)),
  );
  const prefix = areTimes ? '' : text(block, 345, 500);
  return /^[\x01-\x7f]*$/.test(prefix) ? prefix : '';
}

/** Bytes up to the first NUL. */
export function text(block: Buffer, from: number, to: number): string {
  let end = from;
  while (end < to && block[end] !== 0) end++;
  return block.toString('latin1', from, end);
}

/**
 * A numeric field: octal digits between blanks, or base 256 when the first bit is set (GNU; two's complement).
 * @throws Fault for anything else, and for numbers that a double does not hold exactly.
 */
export function number(block: Buffer, from: number, to: number, what: string): number {
  const first = block[from]!;
  if (first & 0x80) return base256(block, from, to, what);
  let at = from;
  while (at < to && (block[at] === 0x20 || block[at] === 0)) at++;
  let value = 0;
  for (; at < to; at++) {
    const digit = block[at]! - 0x30;
    if (digit >= 0 && digit < 8) value = value * 8 + digit;
    else if (block[at] === 0x20 || block[at] === 0) break;
    else throw badArchive(`the ${what} ${JSON.stringify(block.toString('latin1', from, to))} is not a number`);
  }
  return value;
}

function base256(block: Buffer, from: number, to: number, what: string): number {
  const negative = (block[from]! & 0x40) !== 0;
  // The marker bit is not part of the number; a negative one is sign-extended through it.
  let value = negative ? BigInt(block[from]!) - 256n : BigInt(block[from]! & 0x3f);
  for (let at = from + 1; at < to; at++) value = value * 256n + BigInt(block[at]!);
  const result = Number(value);
  if (!Number.isSafeInteger(result)) throw badArchive(`the ${what} ${value} is out of range`);
  return result;
}

/** The sum of all bytes with the field itself as blanks; some old writers summed signed bytes. */
function checksumMatches(block: Buffer): boolean {
  let unsigned = 8 * 0x20;
  let high = 0;
  for (let at = 0; at < blockSize; at++) {
    if (at === 148) at = 156;
    const byte = block[at]!;
    unsigned += byte;
    if (byte > 127) high++;
  }
  let said = 0;
  let digits = 0;
  for (let at = 148; at < 156; at++) {
    const digit = block[at]! - 0x30;
    if (digit >= 0 && digit < 8) {
      said = said * 8 + digit;
      digits++;
    } else if (digits > 0) break;
  }
  return digits > 0 && (said === unsigned || said === unsigned - 256 * high);
}

function isZero(block: Buffer): boolean {
  for (let at = 0; at < blockSize; at++) if (block[at] !== 0) return false;
  return true;
}
