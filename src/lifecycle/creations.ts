import { Fault } from '../base/fault.ts';
import { SharedRuns } from '../base/shared-runs.ts';

/**
 * When something is created: now, but later than what it follows, whatever the clock does. kubelet takes the attempt with
 * the latest time for the current one. Milliseconds since the epoch.
 */
export const creationTime = (earlier: Iterable<{ readonly createdAt: number }>): number =>
  Math.max(Date.now(), ...[...earlier].map(({ createdAt }) => createdAt + 1));

/**
 * Makes creation safe to retry. A request with the key of one in flight joins it; if every caller of a creation went
 * away before it finished, the first later request with that key is given what it made; any other request with the
 * key of an existing object is AlreadyExists.
 */
export class Creations<Id extends string> {
  readonly #runs = new SharedRuns<Id>();
  readonly #unclaimed = new Set<Id>();

  /** Marks what nobody may have heard of: objects found at start, made for a call that the crash cut off. */
  unclaimed(id: Id): void {
    this.#unclaimed.add(id);
  }

  /** `existing` looks for an object with this key; `work` makes it. Rejects with `signal.reason` if the caller goes. */
  async create(
    what: string,
    key: string,
    existing: () => Id | undefined,
    work: () => Promise<Id>,
    signal: AbortSignal,
  ): Promise<Id> {
    const found = this.#runs.has(key) ? undefined : existing();
    if (found !== undefined) {
      if (this.#unclaimed.delete(found)) return found;
      throw new Fault('AlreadyExists', `${what} exists already, as ${found}`);
    }
    const run = async () => {
      const id = await work();
      this.#unclaimed.add(id);
      return id;
    };
    const id = await this.#runs.join(key, run, signal);
    this.#unclaimed.delete(id);
    return id;
  }

  forget(id: Id): void {
    this.#unclaimed.delete(id);
  }
}
