import { Duplex } from 'node:stream';

/** A longer head passes as it is. Each piece of one is looked at with all before it, so that many small ones must end soon. */
const maxHeadBytes = 32 * 1024;
const endOfHead = /\r?\n\r?\n/;

/**
 * A connection for one request, whose answer says its Content-Length once where the server says the same twice (RFC 9110,
 * 8.6: a recipient may take such a list as one value). Node's parser has no leniency for that.
 */
export class OneLength extends Duplex {
  readonly #socket: Duplex;
  /** What came of a head that is not whole yet; null once the body began. */
  #head: Buffer | null = Buffer.alloc(0);

  constructor(socket: Duplex) {
    super();
    this.#socket = socket;
    socket.on('data', (chunk: Buffer) => {
      if (!this.#take(chunk)) socket.pause();
    });
    socket.once('end', () => {
      if (this.#head) this.push(this.#head);
      this.push(null);
    });
    socket.once('error', (error) => this.destroy(error));
    socket.once('close', () => this.destroy());
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
    if (!this.#head) return this.push(chunk);
    const all = Buffer.concat([this.#head, chunk]);
    // Latin-1 keeps every byte as it is.
    const text = all.toString('latin1', 0, maxHeadBytes);
    const end = endOfHead.exec(text);
    this.#head = end || all.length > maxHeadBytes ? null : all;
    if (this.#head) return true;
    if (!end) return this.push(all);
    const bodyAt = end.index + end[0].length;
    const isInterim = /^HTTP\/\S+ +1\d\d/.test(text);
    const more = this.push(Buffer.from(withOneLength(text.slice(0, bodyAt)), 'latin1'));
    const rest = all.subarray(bodyAt);
    if (isInterim) this.#head = Buffer.alloc(0);
    return rest.length === 0 ? more : this.#take(rest);
  }
}

/** Drops each Content-Length line that says what one before it said. */
function withOneLength(head: string): string {
  const said = new Set<string>();
  return head.replace(/^content-length:[ \t]*(\d+)[ \t]*\r?\n/gim, (line, length: string) => {
    if (said.has(length)) return '';
    said.add(length);
    return line;
  });
}
