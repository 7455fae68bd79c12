import { constants, inflateRawSync } from 'node:zlib';
import { messageOf } from '../base/fault.ts';
import { dictionary, dictionaryId } from './spdy-dictionary.ts';

/** Header blocks of Kubernetes' clients take a few hundred bytes. */
const maxBlock = 64 * 1024;
const maxHeaders = 256;
/** How far back deflate can point. */
const windowSize = 32 * 1024;
/** RFC 1950: FDICT of the second byte. */
const hasDictionary = 0x20;

/** The peer broke the protocol: its connection ends. */
export class ProtocolError extends Error {}

/**
 * Reads the header blocks of one connection. They are one zlib stream, cut where the writer flushed it; each is
 * inflated by itself, with what came before as its dictionary, so that nothing is awaited and every size is bounded.
 */
export class HeaderReader {
  #window: Buffer | null = null;

  /** Lower-case names. @throws ProtocolError */
  read(block: Buffer): Map<string, string> {
    const body = this.#window === null ? this.#skipStart(block) : block;
    const text = inflate(body, this.#window!);
    this.#window = Buffer.concat([this.#window!, text]).subarray(-windowSize);
    return parse(text);
  }

  /** The zlib header, only ever at the start of the first block. */
  #skipStart(block: Buffer): Buffer {
    if (block.length < 2 || (block[0]! & 0x0f) !== 8 || block.readUInt16BE(0) % 31 !== 0)
      throw new ProtocolError('The first header block is not a zlib stream');
    if ((block[1]! & hasDictionary) === 0) {
      this.#window = Buffer.alloc(0);
      return block.subarray(2);
    }
    if (block.length < 6 || block.readUInt32BE(2) !== dictionaryId)
      throw new ProtocolError("The first header block names another dictionary than SPDY/3's");
    this.#window = dictionary;
    return block.subarray(6);
  }
}

function inflate(block: Buffer, window: Buffer): Buffer {
  try {
    return inflateRawSync(block, {
      finishFlush: constants.Z_SYNC_FLUSH,
      maxOutputLength: maxBlock,
      ...(window.length > 0 ? { dictionary: window } : {}),
    });
  } catch (error) {
    throw new ProtocolError(`A header block cannot be inflated: ${messageOf(error)}`);
  }
}

function parse(text: Buffer): Map<string, string> {
  const headers = new Map<string, string>();
  let at = 0;
  const take = (size: number): number => {
    if (size > text.length - at) throw new ProtocolError('A header block ends inside a header');
    at += size;
    return at - size;
  };
  const word = () => {
    const size = text.readUInt32BE(take(4));
    return text.toString('utf8', take(size), at);
  };
  const count = text.readUInt32BE(take(4));
  if (count > maxHeaders) throw new ProtocolError(`A header block has ${count} headers`);
  for (let i = 0; i < count; i++) {
    const name = word();
    headers.set(name.toLowerCase(), word());
  }
  return headers;
}

/** Writes header blocks without compression: what Berth answers has no headers to speak of. */
export class HeaderWriter {
  #started = false;

  write(headers: ReadonlyMap<string, string>): Buffer {
    const words = [...headers].flat().map((word) => Buffer.from(word));
    const text = Buffer.concat([number(headers.size), ...words.flatMap((word) => [number(word.length), word])]);
    const start = this.#started
      ? Buffer.alloc(0)
      : Buffer.concat([Buffer.from([0x78, hasDictionary]), number(dictionaryId)]);
    this.#started = true;
    // Go's reader waits for more unless the block ends as a flush does: with an empty stored block.
    return Buffer.concat([start, stored(text), stored(Buffer.alloc(0))]);
  }
}

/** RFC 1951, section 3.2.4. */
function stored(text: Buffer): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt16LE(text.length, 1);
  head.writeUInt16LE(~text.length & 0xffff, 3);
  return Buffer.concat([head, text]);
}

function number(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}
