import type { Caller } from '../base/caller.ts';
import { Fault } from '../base/fault.ts';
import { SharedRuns } from '../base/shared-runs.ts';

/**
 * When something is created: now, but later than what it follows, whatever the clock does. kubelet takes the attempt with
 * the latest time for the current one. Milliseconds since the epoch.
 */
export const creationTime = (earlier: Iterable<{ readonly createdAt: number }>): number =>
  Math.max(Date.now(), ...[...earlier].map(({ createdAt }) => createdAt + 1));

/**
 * An answer this close to the client's deadline may have come too late. What lies between is the event loops of both
 * sides, and a busy machine: that takes as long for a client that waits two seconds (crictl) as for one that waits four
 * minutes (kubelet), so it is no part of the whole.
 */
const doubtMs = 1000;

/** Something of a name of its own. */
export type Wanted<Id> = {
  /** For messages. */
  readonly what: string;
  readonly key: string;
  /** What there is under this key; `same`: what this very request would make, as it is right after its making. */
  readonly existing: () => { readonly id: Id; readonly same: boolean } | undefined;
  readonly make: () => Promise<Id>;
};

/**
 * Makes creation safe to retry. A request with the key of one in flight joins it. What no caller may have heard of (all of
 * them went away before it was there, or were answered in the last moment of their deadline, or the daemon died) is given
 * to the next request that asks for the same: once, and until somebody uses it. Any other request with the key of an
 * existing object is AlreadyExists; so is one that wants it otherwise, as with containerd: who asks for that would take
 * what is there for what it asked for, and kubelet, refused, looks at what there is.
 */
export class Creations<Id extends string> {
  readonly #runs = new SharedRuns<Id>();
  /** Of objects that exist: each leaves it by claimed(), at the latest when it is removed. */
  readonly #unheard = new Set<Id>();

  /** Marks what nobody may have heard of: objects found at start, made for a call that the crash cut off. */
  unheard(id: Id): void {
    this.#unheard.add(id);
  }

  /** Somebody knows it, as it is used; or it is gone. */
  claimed(id: Id): void {
    this.#unheard.delete(id);
  }

  /** Rejects with the reason of the caller's signal if the caller goes; what is begun goes on. */
  async create(wanted: Wanted<Id>, caller: Caller): Promise<Id> {
    caller.signal.throwIfAborted();
    const { key, existing, make } = wanted;
    const joins = this.#runs.has(key);
    const found = joins ? undefined : existing();
    if (found) {
      if (!found.same || !this.#unheard.has(found.id)) throw taken(wanted, found);
      return this.#answer(found.id, wanted, caller);
    }
    const run = async () => {
      const id = await make();
      this.#unheard.add(id);
      return id;
    };
    const id = await this.#runs.join(key, run, caller.signal);
    const made = joins ? existing() : undefined;
    if (made && !made.same) throw taken(wanted, made);
    return this.#answer(id, wanted, caller);
  }

  #answer(id: Id, { existing }: Wanted<Id>, caller: Caller): Id {
    const inTime = caller.deadline - Date.now() > doubtMs;
    if (inTime && !caller.signal.aborted) this.#unheard.delete(id);
    caller.onUnheard(() => {
      if (existing()?.id === id) this.#unheard.add(id);
    });
    return id;
  }
}

const taken = <Id>({ what }: Wanted<Id>, { id, same }: { readonly id: Id; readonly same: boolean }): Fault =>
  new Fault(
    'AlreadyExists',
    `${what} exists already, as ${id}${same ? '' : ', and is not what this request asks for'}`,
  );
