import { unlessAborted } from './shared-runs.ts';

type Line = { taken: number; readonly waiting: (() => void)[] };

/** So many turns at once for each key; further ones wait in order of arrival. */
export class Turns {
  readonly #most: number;
  readonly #lines = new Map<string, Line>();

  constructor(most: number) {
    this.#most = most;
  }

  /** Waits for a turn, which ends with the returned object's `using` scope. Rejects with `signal.reason` if the caller leaves. */
  async take(key: string, signal: AbortSignal): Promise<Disposable> {
    signal.throwIfAborted();
    const line = this.#lines.get(key) ?? { taken: 0, waiting: [] };
    this.#lines.set(key, line);
    if (line.taken < this.#most) line.taken++;
    else await this.#inLine(line, signal);
    let held = true;
    return {
      [Symbol.dispose]: () => {
        if (held) this.#giveBack(key, line);
        held = false;
      },
    };
  }

  async #inLine(line: Line, signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    line.waiting.push(resolve);
    try {
      await unlessAborted(promise, signal);
    } catch (error) {
      const at = line.waiting.indexOf(resolve);
      if (at >= 0) line.waiting.splice(at, 1);
      else this.#pass(line); // the turn came at the moment of leaving
      throw error;
    }
  }

  /** To whoever waits; else there is one more to be had. */
  #pass(line: Line): void {
    const next = line.waiting.shift();
    if (next) next();
    else line.taken--;
  }

  #giveBack(key: string, line: Line): void {
    this.#pass(line);
    if (line.taken === 0) this.#lines.delete(key);
  }
}
