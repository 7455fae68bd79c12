import { step } from './trace.ts';

/**
 * Mutual exclusion by key, in order of arrival. A caller that needs a pod and one of its containers takes the
 * pod first; nothing ever holds two keys of the same level.
 */
export class Locks {
  readonly #tails = new Map<string, Promise<void>>();
  readonly #lines = new Map<string, { since: number; waiting: number }>();

  /** Waits for every earlier holder of `key`; the returned hold releases it at the end of its `using` scope. */
  async hold(key: string): Promise<Disposable> {
    const earlier = this.#tails.get(key);
    const { promise, resolve } = Promise.withResolvers<void>();
    const tail = earlier ? earlier.then(() => promise) : promise;
    this.#tails.set(key, tail);
    const line = this.#lines.get(key) ?? { since: performance.now(), waiting: 0 };
    this.#lines.set(key, line);
    if (earlier) {
      line.waiting++;
      await step('wait: lock', () => earlier);
      line.waiting--;
      line.since = performance.now();
    }
    return {
      [Symbol.dispose]: () => {
        resolve();
        if (this.#tails.get(key) !== tail) return;
        this.#tails.delete(key);
        this.#lines.delete(key);
      },
    };
  }

  /** Those that are held: for how long, and how many wait for each. */
  held(): { readonly key: string; readonly ms: number; readonly waiting: number }[] {
    const now = performance.now();
    return [...this.#lines].map(([key, { since, waiting }]) => ({ key, ms: Math.round(now - since), waiting }));
  }
}
