import { mkdir } from 'node:fs/promises';
import type { PodId } from '../model/ids.ts';
import { connectShim, type Shim, type ShimExit, startShim } from '../shim/index.ts';

export type ShimsEvents = {
  /** A container's process ended. */
  onExit(podId: PodId, exit: ShimExit): void;
  /** The pause process ended though nobody asked for it. */
  onPauseExit(podId: PodId): void;
  /** The connection ended though nobody asked for it: the shim died. */
  onLost(podId: PodId): void;
};

/** The connections to the pods' shims: at most one each. */
export class Shims {
  readonly #directory: (id: PodId) => string;
  readonly #events: ShimsEvents;
  readonly #live = new Map<PodId, Promise<Shim>>();

  constructor(directory: (id: PodId) => string, events: ShimsEvents) {
    this.#directory = directory;
    this.#events = events;
  }

  /** The pod's shim, connected to or started if it must be: also teardown after its death runs commands in one. */
  ensure(id: PodId): Promise<Shim> {
    return this.#hold(id, async () => {
      const directory = this.#directory(id);
      await mkdir(directory, { recursive: true, mode: 0o700 });
      const handlers = this.#handlers(id);
      return (await connectShim(directory, handlers)) ?? (await startShim(directory, handlers));
    });
  }

  /** Starts the shim of a new pod, where none can be there yet. */
  start(id: PodId): Promise<Shim> {
    return this.#hold(id, () => startShim(this.#directory(id), this.#handlers(id)));
  }

  /** The pod's shim if it is alive, else null. */
  async find(id: PodId): Promise<Shim | null> {
    const live = this.#live.get(id);
    if (live) return live;
    const shim = await connectShim(this.#directory(id), this.#handlers(id));
    if (shim) this.#live.set(id, Promise.resolve(shim));
    return shim;
  }

  /** Ends the shim and everything that it keeps; one that is gone already counts as ended. */
  async shutdown(id: PodId): Promise<void> {
    const shim = await this.find(id);
    this.#live.delete(id);
    await shim?.shutdown({ force: true });
  }

  #hold(id: PodId, open: () => Promise<Shim>): Promise<Shim> {
    const live = this.#live.get(id);
    if (live) return live;
    const opening = open();
    this.#live.set(id, opening);
    opening.catch(() => {
      if (this.#live.get(id) === opening) this.#live.delete(id);
    });
    return opening;
  }

  #handlers(id: PodId) {
    return {
      onExit: (exit: ShimExit) => this.#events.onExit(id, exit),
      onPauseExit: () => this.#events.onPauseExit(id),
      onLost: () => {
        if (this.#live.delete(id)) this.#events.onLost(id);
      },
    };
  }
}
