import type { FieldKind, Message, MessageName, MessageShape } from '../../proto/shim.ts';
import { maxToDaemon, maxToShim, messages } from '../../proto/shim.ts';
import { Fault, invalidArgument } from '../base/fault.ts';

const lengthSize = 4;
const headerSize = 10;

/** One message as it came: `fields` has the type that `name` gives it. */
export type Decoded = {
  [Name in MessageName]: { readonly name: Name; readonly request: number; readonly fields: Message<Name> };
}[MessageName];

type Value = number | boolean | string | Uint8Array | readonly string[];
type Cursor = { readonly frame: Buffer; at: number };

const shapes = new Map<number, readonly [MessageName, MessageShape]>(
  Object.entries(messages).map(([name, shape]) => [shape.number, [name as MessageName, shape]]),
);

const malformed = (why: string) => new Fault('DataLoss', `A frame of the shim is malformed: ${why}`);

const textSize = (text: string): number => lengthSize + Buffer.byteLength(text) + 1;

function sizeOf(kind: FieldKind, value: Value): number {
  if (kind === 'bool') return 1;
  if (kind === 'u64') return 8;
  if (kind === 'string') return textSize(value as string);
  if (kind === 'bytes') return lengthSize + (value as Uint8Array).length;
  if (kind === 'strings') return (value as readonly string[]).reduce((sum, text) => sum + textSize(text), lengthSize);
  return 4;
}

function writeText(to: Cursor, text: string): void {
  if (text.includes('\0')) throw invalidArgument(`${JSON.stringify(text.slice(0, 200))} holds a NUL`);
  const size = to.frame.write(text, to.at + lengthSize);
  to.frame.writeUInt32LE(size, to.at);
  to.at += lengthSize + size;
  to.frame[to.at++] = 0;
}

const writers: Record<FieldKind, (to: Cursor, value: Value) => void> = {
  u32: (to, value) => {
    to.at = to.frame.writeUInt32LE(value as number, to.at);
  },
  u64: (to, value) => {
    to.at = to.frame.writeBigUInt64LE(BigInt(value as number), to.at);
  },
  i32: (to, value) => {
    to.at = to.frame.writeInt32LE(value as number, to.at);
  },
  bool: (to, value) => {
    to.frame[to.at++] = value ? 1 : 0;
  },
  string: (to, value) => writeText(to, value as string),
  bytes: (to, value) => {
    const bytes = value as Uint8Array;
    to.at = to.frame.writeUInt32LE(bytes.length, to.at);
    to.frame.set(bytes, to.at);
    to.at += bytes.length;
  },
  strings: (to, value) => {
    const list = value as readonly string[];
    to.at = to.frame.writeUInt32LE(list.length, to.at);
    for (const text of list) writeText(to, text);
  },
};

/** One whole frame. InvalidArgument for text with a NUL, for a number out of range, and beyond the frame's bound. */
export function encode<Name extends MessageName>(name: Name, request: number, fields: Message<Name>): Buffer {
  const shape: MessageShape = messages[name];
  const values = fields as Record<string, Value>;
  const kinds = Object.entries(shape.fields);
  const size = kinds.reduce((sum, [field, kind]) => sum + sizeOf(kind, values[field]!), headerSize);
  if (size - lengthSize > (shape.number < 64 ? maxToShim : maxToDaemon))
    throw invalidArgument(`A ${name} message of ${size} bytes is too large for the shim`);
  const to: Cursor = { frame: Buffer.allocUnsafe(size), at: 0 };
  writers.u32(to, size - lengthSize);
  to.at = to.frame.writeUInt16LE(shape.number, to.at);
  writers.u32(to, request);
  for (const [field, kind] of kinds) {
    try {
      writers[kind](to, values[field]!);
    } catch (error) {
      if (error instanceof RangeError) throw invalidArgument(`${name}.${field}: ${error.message}`);
      throw error;
    }
  }
  return to.frame;
}

function take(from: Cursor, size: number): number {
  const at = from.at;
  if (size > from.frame.length - at) throw malformed(`it ends inside a field at byte ${at}`);
  from.at += size;
  return at;
}

const readU32 = (from: Cursor): number => from.frame.readUInt32LE(take(from, 4));

function readText(from: Cursor): string {
  const size = readU32(from);
  const at = take(from, size + 1);
  if (from.frame.indexOf(0, at) !== at + size) throw malformed(`the text at byte ${at} does not end where it says`);
  return from.frame.toString('utf8', at, at + size);
}

const readers: Record<FieldKind, (from: Cursor) => Value> = {
  u32: readU32,
  i32: (from) => from.frame.readInt32LE(take(from, 4)),
  u64: (from) => {
    const value = from.frame.readBigUInt64LE(take(from, 8));
    if (value > Number.MAX_SAFE_INTEGER) throw malformed(`${value} is beyond 2^53`);
    return Number(value);
  },
  bool: (from) => {
    const value = from.frame[take(from, 1)]!;
    if (value > 1) throw malformed(`${value} is no truth value`);
    return value === 1;
  },
  string: readText,
  bytes: (from) => {
    const size = readU32(from);
    const at = take(from, size);
    return from.frame.subarray(at, at + size);
  },
  strings: (from) => {
    const count = readU32(from);
    if (count > from.frame.length) throw malformed(`${count} strings do not fit in it`);
    return Array.from({ length: count }, () => readText(from));
  },
};

/** What a field is when the frame ends before it: its writer is older than the field. */
const absent: Record<FieldKind, Value> = {
  u32: 0,
  u64: 0,
  i32: 0,
  bool: false,
  string: '',
  bytes: Buffer.alloc(0),
  strings: [],
};

/**
 * Reads a frame without its length. Null for a message that this side does not know; DataLoss if it is malformed.
 * `bytes` fields are views of the frame.
 */
export function decode(frame: Buffer): Decoded | null {
  const from: Cursor = { frame, at: 0 };
  const number = frame.readUInt16LE(take(from, 2));
  const request = readU32(from);
  const known = shapes.get(number);
  if (!known) return null;
  const [name, shape] = known;
  const fields: Record<string, Value> = {};
  for (const [field, kind] of Object.entries(shape.fields))
    fields[field] = from.at === frame.length ? absent[kind] : readers[kind](from);
  return { name, request, fields } as Decoded;
}

/** Cuts a stream of chunks into frames without their lengths. */
export class FrameReader {
  #chunks: Buffer[] = [];
  #size = 0;

  /** The frames that are whole with this chunk. DataLoss for a length that no frame has. */
  push(chunk: Buffer): Buffer[] {
    const frames: Buffer[] = [];
    this.#chunks.push(chunk);
    this.#size += chunk.length;
    while (this.#size >= lengthSize) {
      if (this.#chunks[0]!.length < lengthSize) this.#chunks = [Buffer.concat(this.#chunks)];
      const length = this.#chunks[0]!.readUInt32LE(0);
      if (length < headerSize - lengthSize || length > maxToDaemon) throw malformed(`its length is ${length}`);
      const end = lengthSize + length;
      if (this.#size < end) break;
      const all = this.#chunks.length > 1 ? Buffer.concat(this.#chunks) : this.#chunks[0]!;
      frames.push(all.subarray(lengthSize, end));
      this.#chunks = all.length > end ? [all.subarray(end)] : [];
      this.#size = all.length - end;
    }
    return frames;
  }
}
