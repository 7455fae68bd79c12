// Row 12 of the promises, the model: what each id can be, and cannot be any more. An id only ever goes up a level; a call
// that was answered proves a least level, a call that was begun allows a higher one. So every answer can be judged though
// nobody knows in which order calls that overlap take effect.

/** Of a pod: ready, not ready, gone. Of a container: created, running, ended, gone. */
export const podLevels = { ready: 1, notReady: 2, gone: 4 } as const;
export const containerLevels = { created: 1, running: 2, ended: 3, gone: 4 } as const;

/** What is known of one id. */
export type Known = {
  readonly id: string;
  readonly name: string;
  /** The pod of a container. */
  readonly pod: Known | null;
  /** Proved by answers and by what was seen. */
  least: number;
  /** Allowed by calls that were begun. */
  most: number;
};

/** What was known when a call began: what is proved since then does not bind it. */
export type Before = ReadonlyMap<string, number>;

export class Model {
  readonly #known = new Map<string, Known>();

  /** An id that a creation gave, or a list showed first. */
  meet(id: string, name: string, pod: Known | null): Known {
    const known = this.#known.get(id) ?? { id, name, pod, least: 1, most: 1 };
    this.#known.set(id, known);
    return known;
  }

  get(id: string): Known | undefined {
    return this.#known.get(id);
  }

  all(): Known[] {
    return [...this.#known.values()];
  }

  containersOf(pod: Known): Known[] {
    return this.all().filter((known) => known.pod === pod);
  }

  /** The least levels of now. */
  now(): Before {
    return new Map([...this.#known].map(([id, { least }]) => [id, least]));
  }

  /** A call that may take it there was begun. */
  allow(known: Known, level: number): void {
    known.most = Math.max(known.most, level);
  }

  /** It is there at least. */
  prove(known: Known, level: number): void {
    known.least = Math.max(known.least, level);
    known.most = Math.max(known.most, known.least);
  }

  /** It was seen there by a call that began when `before` was known. Undefined, or what is wrong with that. */
  see(known: Known, level: number, before: Before): string | undefined {
    const least = before.get(known.id) ?? 1;
    if (level < least) return `${known.name} ${known.id} is at level ${level}, and was at ${least} before the call`;
    const { most } = known;
    this.prove(known, level); // a mistake is said once
    if (level > most) return `${known.name} ${known.id} is at level ${level}, and nothing took it above ${most}`;
    return undefined;
  }

  /** Drops what is long gone: what was removed cannot come back under a name that nobody looks for. */
  forgetGone(): void {
    for (const [id, { least }] of this.#known) if (least === 4) this.#known.delete(id);
  }
}
