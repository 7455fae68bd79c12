import { Duplex } from 'node:stream';
import { isErrno } from '../base/fault.ts';

/** A longer head passes as it is. Each piece of one is looked at with all before it, so that many small ones must end soon. */
const maxHeadBytes = 32 * 1024;
const endOfHead = /\r?\n\r?\n/;
/** Of a line between chunks; Go takes 4096. */
const maxLineBytes = 4096;

/** What Node's parser refuses and this makes plain: at a head, or at a line between chunks. */
const oddities = ['HPE_UNEXPECTED_CONTENT_LENGTH', 'HPE_INVALID_HEADER_TOKEN', 'HPE_INVALID_STATUS', 'HPE_STRICT'];

export const isOddAnswer = (error: unknown): boolean => error instanceof Error && isErrno(error, ...oddities);

/** What comes next: a head; of a body in chunks the line before one, the chunk, the end of its line, what is behind the last; or anything. */
type Part = 'head' | 'size' | 'chunk' | 'chunk end' | 'trailers' | 'rest';

/**
 * A connection for one request, whose answer is put as Node's parser takes it, where its server writes what Go's clients take: the same
 * Content-Length twice (RFC 9110, 8.6: a recipient may take such a list as one value), blanks in a field's name or doubled in the first
 * line, any text behind the size of a chunk. What nobody takes passes as it is.
 */
export class PlainAnswer extends Duplex {
  readonly #socket: Duplex;
  #part: Part = 'head';
  /** What came of a head or a line that is not whole yet. */
  #begun: Buffer = Buffer.alloc(0);
  /** Bytes of the chunk that are to come. */
  #left = 0;
  #hasEnded = false;

  constructor(socket: Duplex) {
    super();
    this.#socket = socket;
    socket.on('data', (chunk: Buffer) => {
      if (!this.#take(chunk)) socket.pause();
    });
    socket.once('end', () => {
      if (this.#begun.length > 0) this.push(this.#begun);
      this.push(null);
      this.#hasEnded = true;
    });
    socket.once('error', (error) => this.destroy(error));
    socket.once('close', () => {
      // What came before the end is here, and its reader may be slow.
      if (this.#hasEnded && !this.readableEnded) this.once('end', () => this.destroy());
      else this.destroy();
    });
  }

  override _read(): void {
    this.#socket.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#socket.write(chunk, done);
  }

  override _final(done: () => void): void {
    this.#socket.end(done);
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#socket.destroy();
    done(error);
  }

  /** False: no more for now. */
  #take(chunk: Buffer): boolean {
    let more = true;
    for (let rest = chunk; rest.length > 0; ) {
      const [said, after] = this.#next(rest);
      if (said.length > 0) more = this.push(said);
      rest = after;
    }
    return more;
  }

  /** What is to be said of `data` first, and what is left of it. */
  #next(data: Buffer): readonly [said: Buffer, rest: Buffer] {
    if (this.#part === 'rest') return [data, nothing];
    if (this.#part === 'head') return this.#head(Buffer.concat([this.#begun, data]));
    if (this.#part !== 'chunk') return this.#line(data);
    const chunk = data.subarray(0, this.#left);
    this.#left -= chunk.length;
    if (this.#left === 0) this.#part = 'chunk end';
    return [chunk, data.subarray(chunk.length)];
  }

  #head(all: Buffer): readonly [said: Buffer, rest: Buffer] {
    // Latin-1 keeps every byte as it is.
    const text = all.toString('latin1', 0, maxHeadBytes);
    const end = endOfHead.exec(text);
    if (!end && all.length <= maxHeadBytes) return this.#wait(all);
    if (!end) return this.#pass(all);
    const head = plainHead(text.slice(0, end.index + end[0].length));
    this.#begun = nothing;
    const isInterim = /^HTTP\/\S+ +1\d\d/.test(head);
    if (!isInterim) this.#part = /^transfer-encoding:[ \t]*chunked[ \t]*\r?$/im.test(head) ? 'size' : 'rest';
    return [Buffer.from(head, 'latin1'), all.subarray(end.index + end[0].length)];
  }

  #line(data: Buffer): readonly [said: Buffer, rest: Buffer] {
    const end = data.indexOf('\n') + 1;
    const line = Buffer.concat([this.#begun, end === 0 ? data : data.subarray(0, end)]);
    if (line.length > maxLineBytes) return this.#pass(Buffer.concat([this.#begun, data]));
    if (end === 0) return this.#wait(line);
    this.#begun = nothing;
    return [this.#between(line), data.subarray(end)];
  }

  /** A whole line between chunks, or behind the last. */
  #between(line: Buffer): Buffer {
    const text = line.toString('latin1');
    if (this.#part === 'chunk end') this.#part = 'size';
    else if (this.#part === 'size') {
      const [, size] = /^([0-9a-f]{1,15})[ \t]*(?:;.*)?\r?\n$/i.exec(text) ?? [];
      this.#left = Number.parseInt(size ?? '', 16);
      this.#part = size === undefined ? 'rest' : this.#left === 0 ? 'trailers' : 'chunk';
      if (size !== undefined) return Buffer.from(`${size}\r\n`);
    } else if (/^\r?\n$/.test(text)) this.#part = 'rest';
    else return nothing; // nobody asks for what stands in a trailer
    return line;
  }

  #wait(begun: Buffer): readonly [said: Buffer, rest: Buffer] {
    this.#begun = begun;
    return [nothing, nothing];
  }

  #pass(all: Buffer): readonly [said: Buffer, rest: Buffer] {
    this.#part = 'rest';
    this.#begun = nothing;
    return [all, nothing];
  }
}

const nothing = Buffer.alloc(0);

/** Of a name, as Go takes it: a token (RFC 9110, 5.6.2), and blanks in it. Nobody asks for a field whose name has any. */
const nameWithBlank = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+ [!#$%&'*+.^_`|~0-9A-Za-z -]*:.*\r?\n(?:[ \t].*\r?\n)*/gm;

/** One blank before the status, no field whose name has blanks, and of each Content-Length no line that says what one before it said. */
function plainHead(head: string): string {
  const said = new Set<string>();
  return head
    .replace(/^(HTTP\/\d\.\d) +/, '$1 ')
    .replace(nameWithBlank, (field) => (/^\S+ *:/.test(field) ? field : ''))
    .replace(/^content-length:[ \t]*(\d+)[ \t]*\r?\n/gim, (line, length: string) => {
      if (said.has(length)) return '';
      said.add(length);
      return line;
    });
}
