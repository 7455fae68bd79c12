import { isObject } from '../base/json.ts';
import { jsonOf } from '../base/parse.ts';
import type { TerminalSize } from '../model/process-io.ts';

/** `{"Width":65535,"Height":65535}` and room for spaces. */
const maxText = 1024;
const largest = 65_535;

/** Terminal sizes as clients send them: one JSON object after the other. Gives the latest to whoever listens. */
export class Sizes {
  #text = '';
  #last: TerminalSize | null = null;
  #listener: ((size: TerminalSize) => void) | null = null;

  /** Takes the next bytes; what is no size is dropped. */
  push(chunk: Buffer): void {
    this.#text += chunk.toString('latin1');
    const end = this.#text.lastIndexOf('}');
    // Of a flood of sizes only the last counts.
    const start = this.#text.lastIndexOf('{', end);
    if (end >= 0 && start >= 0) this.#set(parse(this.#text.slice(start, end + 1)));
    if (end >= 0) this.#text = this.#text.slice(end + 1);
    if (this.#text.length > maxText) this.#text = '';
  }

  /** One listener; it gets the last size at once. */
  listen(listener: (size: TerminalSize) => void): void {
    this.#listener = listener;
    if (this.#last) listener(this.#last);
  }

  #set(size: TerminalSize | null): void {
    if (!size) return;
    this.#last = size;
    this.#listener?.(size);
  }
}

function parse(text: string): TerminalSize | null {
  let json: unknown;
  try {
    json = jsonOf(text);
  } catch {
    return null;
  }
  if (!isObject(json)) return null;
  // In whatever case, as Go's reader of JSON has it.
  const named = new Map(Object.entries(json).map(([key, value]) => [key.toLowerCase(), value]));
  const [columns, rows] = [named.get('width'), named.get('height')];
  const good = (value: unknown): value is number =>
    Number.isInteger(value) && Number(value) >= 0 && Number(value) <= largest;
  return good(columns) && good(rows) ? { columns, rows } : null;
}
