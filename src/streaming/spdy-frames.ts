import { ProtocolError } from './spdy-headers.ts';

/** SPDY draft 3.1, section 2.6. */
export const frameTypes = { synStream: 1, synReply: 2, reset: 3, settings: 4, ping: 6, goAway: 7, headers: 8 } as const;
const spdyVersion = 3;
export const flagFin = 1;
export const resetStatus = { protocolError: 1, refused: 3, cancel: 5 } as const;

const headSize = 8;
/** Of a control frame; data frames are passed on in pieces as they come. */
const maxControl = 64 * 1024;
const maxData = 0xffffff;

export type Frame =
  | { readonly type: 'open'; readonly stream: number; readonly fin: boolean; readonly block: Buffer }
  | { readonly type: 'headers'; readonly stream: number; readonly fin: boolean; readonly block: Buffer }
  | { readonly type: 'data'; readonly stream: number; readonly fin: boolean; readonly chunk: Buffer }
  | { readonly type: 'reset'; readonly stream: number; readonly status: number }
  | { readonly type: 'ping'; readonly id: number }
  | { readonly type: 'goAway' };

type Head =
  | { readonly kind: 'data'; readonly stream: number; readonly fin: boolean; left: number }
  | { readonly kind: 'control'; readonly type: number; readonly fin: boolean; readonly left: number };

const id = (bytes: Buffer, at: number): number => bytes.readUInt32BE(at) & 0x7fffffff;

/** Cuts a stream of chunks into frames. What is kept between chunks is bounded by the largest control frame. */
export class FrameParser {
  #kept: Buffer = Buffer.alloc(0);
  #head: Head | null = null;

  /** @throws ProtocolError */
  *push(chunk: Buffer): Generator<Frame> {
    let rest = this.#kept.length > 0 ? Buffer.concat([this.#kept, chunk]) : chunk;
    this.#kept = Buffer.alloc(0);
    for (;;) {
      if (!this.#head) {
        if (rest.length < headSize) break;
        this.#head = headOf(rest);
        rest = rest.subarray(headSize);
      }
      const { kind, left } = this.#head;
      if (kind === 'control' && rest.length < left) break;
      if (kind === 'data' && left > 0 && rest.length === 0) break;
      const part = rest.subarray(0, left);
      rest = rest.subarray(part.length);
      const frame = this.#take(this.#head, part);
      if (frame) yield frame;
    }
    if (rest.length > 0) this.#kept = Buffer.from(rest); // not a view: it would hold the whole chunk
  }

  #take(head: Head, part: Buffer): Frame | null {
    if (head.kind === 'control') {
      this.#head = null;
      return controlFrame(head.type, head.fin, part);
    }
    head.left -= part.length;
    if (head.left === 0) this.#head = null;
    return { type: 'data', stream: head.stream, fin: head.fin && head.left === 0, chunk: part };
  }
}

function headOf(bytes: Buffer): Head {
  const fin = (bytes[4]! & flagFin) !== 0;
  const left = bytes.readUIntBE(5, 3);
  if ((bytes[0]! & 0x80) === 0) return { kind: 'data', stream: id(bytes, 0), fin, left };
  const version = bytes.readUInt16BE(0) & 0x7fff;
  if (version !== spdyVersion) throw new ProtocolError(`A frame is of SPDY version ${version}`);
  if (left > maxControl) throw new ProtocolError(`A control frame has ${left} bytes`);
  return { kind: 'control', type: bytes.readUInt16BE(2), fin, left };
}

function controlFrame(type: number, fin: boolean, body: Buffer): Frame | null {
  const least = (size: number) => {
    if (body.length < size) throw new ProtocolError(`A frame of type ${type} has ${body.length} bytes`);
  };
  switch (type) {
    case frameTypes.synStream:
      least(10);
      return { type: 'open', stream: id(body, 0), fin, block: body.subarray(10) };
    case frameTypes.synReply:
    case frameTypes.headers:
      least(4);
      return { type: 'headers', stream: id(body, 0), fin, block: body.subarray(4) };
    case frameTypes.reset:
      least(8);
      return { type: 'reset', stream: id(body, 0), status: body.readUInt32BE(4) };
    case frameTypes.ping:
      least(4);
      return { type: 'ping', id: body.readUInt32BE(0) };
    case frameTypes.goAway:
      return { type: 'goAway' };
    default:
      // SETTINGS and WINDOW_UPDATE: Kubernetes' clients neither keep windows nor tell of them, so a window of ours would
      // never open again. What a peer does not read stays in the connection, whose buffers are bounded.
      return null;
  }
}

/** A control frame. */
export function control(type: number, ...fields: (number | Buffer)[]): Buffer {
  const parts = fields.map((field) => {
    if (typeof field !== 'number') return field;
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32BE(field);
    return bytes;
  });
  const body = Buffer.concat(parts);
  const head = Buffer.alloc(headSize);
  head.writeUInt16BE(0x8000 | spdyVersion, 0);
  head.writeUInt16BE(type, 2);
  head.writeUIntBE(body.length, 5, 3);
  return Buffer.concat([head, body]);
}

/** The head of a data frame; `size` is at most 2^24 - 1. */
export function dataHead(stream: number, size: number, fin: boolean): Buffer {
  if (size > maxData) throw new RangeError(`${size} bytes do not fit in a data frame`);
  const head = Buffer.alloc(headSize);
  head.writeUInt32BE(stream, 0);
  head[4] = fin ? flagFin : 0;
  head.writeUIntBE(size, 5, 3);
  return head;
}
