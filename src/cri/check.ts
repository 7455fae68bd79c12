import { invalidArgument } from '../base/fault.ts';
import { longestPath } from '../base/limits.ts';

/** Bytes that a name may have; longer ones do not fit file names or CNI arguments. */
const maxName = 253;
const maxText = 64 * 1024;

const shown = (value: unknown): string => JSON.stringify(value).slice(0, 200);

/** The message that the request must carry. */
export function required<T>(field: string, value: T | undefined): T {
  if (value === undefined) throw invalidArgument(`${field} is missing`);
  return value;
}

/** Any text without NUL, of at most `max` bytes of UTF-8: it will become a C string, and the kernel counts bytes. */
export function text(field: string, value: string, max = maxText): string {
  if (value.includes('\0')) throw invalidArgument(`${field} contains a NUL character`);
  const size = value.length * 3 <= max ? 0 : Buffer.byteLength(value);
  if (size > max) throw invalidArgument(`${field} has ${size} bytes, at most ${max} are allowed`);
  return value;
}

/** One line of text without control characters. */
export function line(field: string, value: string, max = 4096): string {
  if (/[\x00-\x1f\x7f]/.test(value)) throw invalidArgument(`${field} = ${shown(value)} contains a control character`);
  return text(field, value, max);
}

/** A name that may become part of a path or of a CNI argument list; may be empty. */
export function name(field: string, value: string): string {
  if (/[/;]/.test(value) || value === '.' || value === '..') {
    throw invalidArgument(`${field} = ${shown(value)} must not contain "/" or ";" nor be "." or ".."`);
  }
  return line(field, value, maxName);
}

/** A name that is not empty. */
export function requiredName(field: string, value: string): string {
  if (value === '') throw invalidArgument(`${field} is empty`);
  return name(field, value);
}

/** An id or an id prefix as a client sends it. */
export function id(field: string, value: string): string {
  if (value === '') throw invalidArgument(`${field} is empty`);
  return line(field, value, 256);
}

/** Kernel: NAME_MAX. */
const maxPathName = 255;

/** A path that fits the kernel, of whatever form; may be empty. */
export function path(field: string, value: string): string {
  line(field, value, longestPath);
  const long = value.split('/').find((part) => part.length * 3 > maxPathName && Buffer.byteLength(part) > maxPathName);
  if (long === undefined) return value;
  throw invalidArgument(`${field} = ${shown(value)} has a name of over ${maxPathName} bytes in it`);
}

/** An absolute path without `..`, or empty. */
export function optionalPath(field: string, value: string): string {
  if (path(field, value) === '') return value;
  if (!value.startsWith('/')) throw invalidArgument(`${field} = ${shown(value)} must be an absolute path`);
  if (value.split('/').includes('..')) throw invalidArgument(`${field} = ${shown(value)} must not contain ".."`);
  return value;
}

/** A 64-bit number as a JavaScript one; beyond 2^53-1 it is held as 2^53-1, which no limit distinguishes. */
export function integer(field: string, value: bigint | number, min = Number.MIN_SAFE_INTEGER): number {
  const number = Math.max(Math.min(Number(value), Number.MAX_SAFE_INTEGER), Number.MIN_SAFE_INTEGER);
  if (number < min) throw invalidArgument(`${field} = ${value} must be at least ${min}`);
  return number;
}

/** The member of a closed map that an enum's number stands for. */
export function choice<T>(field: string, map: Readonly<Record<number, T>>, value: number): T {
  const found = Object.hasOwn(map, value) ? map[value] : undefined;
  if (found === undefined) {
    throw invalidArgument(`${field} = ${value} is not one of ${Object.keys(map).join(', ')}`);
  }
  return found;
}

/** A string map whose keys and values are C strings. */
export function stringMap(field: string, map: Readonly<Record<string, string>>): Record<string, string> {
  for (const [key, value] of Object.entries(map)) {
    text(`${field} key`, key);
    text(`${field}[${shown(key)}]`, value, 256 * 1024);
  }
  return map;
}
