import { randomBytes } from 'node:crypto';
import { Fault } from '../base/fault.ts';

/** Kubelet connects at once; a URL that nobody used is worth nothing to anybody later. */
const lifetimeMs = 60_000;
const maxPending = 1000;

type Entry<T> = { readonly value: T; readonly expires: number };

/** Tickets of 128 random bits, each good for one use within a minute. */
export class Tokens<T> {
  readonly #pending = new Map<string, Entry<T>>();
  readonly #now: () => number;

  /** `now` in milliseconds, monotonic. */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** @throws Fault ResourceExhausted when too many wait to be used. */
  issue(value: T): string {
    this.#expire();
    if (this.#pending.size >= maxPending) {
      throw new Fault('ResourceExhausted', `${maxPending} streaming URLs are unused: use them, or wait a minute`);
    }
    const token = randomBytes(16).toString('base64url');
    this.#pending.set(token, { value, expires: this.#now() + lifetimeMs });
    return token;
  }

  /** What the token stands for, once; null for one that is unknown, used or expired. */
  take(token: string): T | null {
    this.#expire();
    const entry = this.#pending.get(token);
    this.#pending.delete(token);
    return entry?.value ?? null;
  }

  /** They lie in the order in which they expire. */
  #expire(): void {
    const now = this.#now();
    for (const [token, { expires }] of this.#pending) {
      if (expires > now) return;
      this.#pending.delete(token);
    }
  }
}
