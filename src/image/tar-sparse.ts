import { badArchive, blockSize, number } from './tar-header.ts';

/** Where the stored bytes of a sparse file belong: ascending, not overlapping. */
export type Segment = { readonly offset: number; readonly length: number };

/**
 * Checks a sparse map (alternately offset and length) against the file's size and the bytes that are stored.
 * @throws Fault if segments overlap, leave the file or do not add up.
 */
export function sparseSegments(map: readonly number[], realSize: number, stored: number): Segment[] {
  if (map.length % 2 !== 0) throw badArchive('a sparse map ends in the middle');
  const segments: Segment[] = [];
  let end = 0;
  let sum = 0;
  for (let at = 0; at < map.length; at += 2) {
    const offset = map[at]!;
    const length = map[at + 1]!;
    if (offset < end || offset + length > realSize) throw badArchive('a sparse map leaves its file or overlaps itself');
    end = offset + length;
    sum += length;
    if (length > 0) segments.push({ offset, length });
  }
  if (sum !== stored) throw badArchive(`a sparse map stores ${sum} bytes, its file ${stored}`);
  return segments;
}

/** The map of an old GNU header (type S): four pairs at 386, "more follows" at 482, the real size at 483. */
export const oldGnuSparse = (block: Buffer) => ({
  map: pairs(block, 386, 4),
  more: block[482] !== 0,
  realSize: number(block, 483, 495, 'sparse size'),
});

/** A block that continues such a map: 21 pairs, "more follows" at 504. */
export const oldGnuSparseMore = (block: Buffer) => ({ map: pairs(block, 0, 21), more: block[504] !== 0 });

function pairs(block: Buffer, from: number, count: number): number[] {
  const result: number[] = [];
  for (let i = 0; i < count; i++) {
    const at = from + i * 24;
    if (block[at] === 0) break; // unused pairs are empty
    result.push(number(block, at, at + 12, 'sparse map'), number(block, at + 12, at + 24, 'sparse map'));
  }
  return result;
}

const maxDigits = 16;
const maxMapBytes = 16 * 1024 * 1024;

/**
 * Reads the map that version 1.0 puts before the content: decimal numbers, one a line, the count of pairs first,
 * padded to a whole block. Fed block by block.
 */
export class SparseText {
  readonly #numbers: number[] = [];
  #digits = '';
  #bytes = 0;

  /** The map once it is complete, else null. */
  block(data: Buffer): number[] | null {
    this.#bytes += blockSize;
    if (this.#bytes > maxMapBytes) throw badArchive('a sparse map is too long');
    for (const byte of data) {
      if (byte >= 0x30 && byte <= 0x39 && this.#digits.length < maxDigits) {
        this.#digits += String.fromCharCode(byte);
      } else if (byte === 0x0a && this.#digits !== '') {
        this.#numbers.push(Number(this.#digits));
        this.#digits = '';
        if (this.#numbers.length === this.#numbers[0]! * 2 + 1) return this.#numbers.slice(1);
      } else {
        throw badArchive('a sparse map is not made of numbers');
      }
    }
    return null;
  }
}
