import { step } from './trace.ts';

/**
 * Mutual exclusion by key, in order of arrival. A caller that needs a pod and one of its containers takes the
 * pod first; nothing ever holds two keys of the same level.
 */
export class Locks {
  readonly #tails = new Map<string, Promise<void>>();

  /** Waits for every earlier holder of `key`; the returned hold releases it at the end of its `using` scope. */
  async hold(key: string): Promise<Disposable> {
    const earlier = this.#tails.get(key);
    const { promise, resolve } = Promise.withResolvers<void>();
    const tail = earlier ? earlier.then(() => promise) : promise;
    this.#tails.set(key, tail);
    if (earlier) await step('wait: lock', () => earlier);
    return {
      [Symbol.dispose]: () => {
        resolve();
        if (this.#tails.get(key) === tail) this.#tails.delete(key);
      },
    };
  }
}
