/** Layers that somebody counts on for a while, each with the number of those who do. */
export class Leases {
  readonly #counts = new Map<string, number>();

  has(key: string): boolean {
    return this.#counts.has(key);
  }

  take(keys: readonly string[]): Disposable {
    for (const key of keys) this.#counts.set(key, (this.#counts.get(key) ?? 0) + 1);
    let held = true;
    return {
      [Symbol.dispose]: () => {
        for (const key of held ? keys : []) this.#giveBack(key);
        held = false;
      },
    };
  }

  #giveBack(key: string): void {
    const left = this.#counts.get(key)! - 1;
    if (left > 0) this.#counts.set(key, left);
    else this.#counts.delete(key);
  }
}
