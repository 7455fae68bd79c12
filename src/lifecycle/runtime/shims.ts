import { mkdir } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { failedPrecondition, isErrno, isFault, messageOf } from '../../base/fault.ts';
import { log } from '../../base/log.ts';
import type { PodId } from '../../model/ids.ts';
import { connectShim, killShim, type LogLoss, type Shim, type ShimExit, startShim } from '../../shim/index.ts';

export type ShimsEvents = {
  /** A container's process ended. */
  onExit(podId: PodId, exit: ShimExit): void;
  /** The pause process ended though nobody asked for it. */
  onPauseExit(podId: PodId): void;
  /** The log of a container's process has lost more; told again with the same figures after a cut. */
  onLogLost(podId: PodId, key: string, loss: LogLoss): void;
  /** The connection ended though nobody asked for it: the shim died. */
  onLost(podId: PodId): void;
};

/** How shims are reached; tests have their own. */
export type ShimAccess = {
  readonly connectShim: typeof connectShim;
  readonly startShim: typeof startShim;
  readonly killShim: typeof killShim;
};

/** How often a shim is tried that lives, as its socket takes connections, but says nothing. */
const reconnects = 3;

/** What the daemon itself has run out of says nothing of a shim, which may be as well as ever. */
export const isWantOfOurs = (error: unknown): boolean => isErrno(error, 'EMFILE', 'ENFILE', 'ENOMEM', 'ENOBUFS');

/** How long the daemon waits until it may have again what it has run out of. */
export const untilWeHaveMs = 1000;

/** The connections to the pods' shims: at most one each. */
export class Shims {
  readonly #directory: (id: PodId) => string;
  readonly #events: ShimsEvents;
  readonly #access: ShimAccess;
  readonly #live = new Map<PodId, Promise<Shim>>();
  /** Connections that were cut, until they are there again or their shims are known to be gone. */
  readonly #regaining = new Map<PodId, Promise<void>>();
  /** Those that were told to end, until they are gone: nobody connects to one of them. */
  readonly #ending = new Map<PodId, Promise<void>>();

  constructor(
    directory: (id: PodId) => string,
    events: ShimsEvents,
    access: ShimAccess = { connectShim, startShim, killShim },
  ) {
    this.#directory = directory;
    this.#events = events;
    this.#access = access;
  }

  /** How many there are, those whose connection was cut, and those that were told to end. */
  underWay(): { readonly connected: number; readonly regaining: readonly PodId[]; readonly ending: readonly PodId[] } {
    return { connected: this.#live.size, regaining: [...this.#regaining.keys()], ending: [...this.#ending.keys()] };
  }

  /** The pod's shim, connected to or started if it must be: also teardown after its death runs commands in one. */
  async ensure(id: PodId): Promise<Shim> {
    await this.#ending.get(id)?.catch(() => {});
    await this.#regaining.get(id);
    return this.#hold(id, async () => {
      const directory = this.#directory(id);
      await mkdir(directory, { recursive: true, mode: 0o700 });
      return (await this.#connect(id)) ?? (await this.#access.startShim(directory, this.#handlers(id)));
    });
  }

  /** Starts the shim of a new pod, where none can be there yet. */
  start(id: PodId): Promise<Shim> {
    return this.#hold(id, () => this.#access.startShim(this.#directory(id), this.#handlers(id)));
  }

  /** The pod's shim if it is alive, else null. */
  async find(id: PodId): Promise<Shim | null> {
    await this.#ending.get(id)?.catch(() => {}); // told to who had it end
    return this.#reach(id);
  }

  async #reach(id: PodId): Promise<Shim | null> {
    await this.#regaining.get(id);
    const live = this.#live.get(id);
    if (live) return live;
    const shim = await this.#connect(id);
    if (shim) this.#live.set(id, Promise.resolve(shim));
    return shim;
  }

  /**
   * The shim of a pod in which something runs.
   * @throws Fault FailedPrecondition if it is gone: another would know nothing of that, and nobody would end it in a pod that
   * is being stopped just now.
   */
  async keeping(id: PodId): Promise<Shim> {
    const shim = await this.find(id);
    if (!shim) throw failedPrecondition(`The shim of pod ${id} is gone, and all that ran there: is it being stopped?`);
    return shim;
  }

  /**
   * The pod's shim if it is alive and answers, else null; one that does not answer, or cannot be reached, is killed.
   * @throws Error with an errno where the daemon lacks what it takes to reach one.
   */
  async findOrKill(id: PodId): Promise<Shim | null> {
    try {
      const shim = await this.find(id);
      if (!shim) await this.#access.killShim(this.#directory(id)); // its socket may have been taken away
      return shim;
    } catch (error) {
      if (isWantOfOurs(error)) throw error;
      await this.kill(id, error);
      return null;
    }
  }

  /** Kills a shim that takes no request any more, as one does whose log hangs. True: there is none, or none any more. */
  async killSilent(id: PodId): Promise<boolean> {
    const shim = await this.findOrKill(id);
    try {
      await shim?.list();
    } catch (error) {
      if (!isFault(error, 'DeadlineExceeded')) throw error;
      await this.kill(id, error);
      return true;
    }
    return shim === null;
  }

  /** Drops what a shim keeps of an ended process. With a shim that ends meanwhile goes all that it keeps. */
  async forget(id: PodId, key: string): Promise<void> {
    try {
      await (await this.find(id))?.forget(key);
    } catch (error) {
      if (await this.find(id)) throw error;
    }
  }

  /** Ends the shim and everything that it keeps; one that is gone already counts as ended. One that is stuck is killed. */
  async shutdown(id: PodId): Promise<void> {
    const ending = this.#ending.get(id) ?? this.#end(id).finally(() => this.#ending.delete(id));
    this.#ending.set(id, ending);
    return ending;
  }

  async #end(id: PodId): Promise<void> {
    try {
      const shim = await this.#reach(id);
      this.#live.delete(id);
      await shim?.shutdown({ force: true });
    } catch (error) {
      await this.kill(id, error);
    }
  }

  /** Ends a shim that does not answer. Nobody is told that it is lost. */
  async kill(id: PodId, why: unknown): Promise<void> {
    log.warn({ pod: id, reason: messageOf(why) }, 'A shim does not answer and is killed');
    const live = this.#live.get(id);
    this.#live.delete(id);
    live?.then(
      (shim) => shim.close(), // one that is stuck keeps its connection, and with it what waits for an answer
      () => {},
    );
    await this.#access.killShim(this.#directory(id));
  }

  #connect(id: PodId): Promise<Shim | null> {
    return this.#access.connectShim(this.#directory(id), this.#handlers(id));
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
      onLogLost: (key: string, loss: LogLoss) => this.#events.onLogLost(id, key, loss),
      onLost: () => {
        if (!this.#live.delete(id)) return;
        const regaining = this.#regain(id).finally(() => this.#regaining.delete(id));
        this.#regaining.set(id, regaining);
      },
    };
  }

  /**
   * A connection that ended is no shim that died: whatever cut it, the pod's processes go on. What happened meanwhile is
   * told as if the events had come. Only where nobody listens any more, or nobody answers, the shim counts as lost.
   */
  async #regain(id: PodId): Promise<void> {
    for (let tries = reconnects; tries > 0; ) {
      try {
        const shim = await this.#connect(id);
        if (!shim) break;
        await this.#catchUp(id, shim);
        this.#live.set(id, Promise.resolve(shim));
        log.warn({ pod: id }, 'The connection to a shim was cut and is there again');
        return;
      } catch (error) {
        log.warn({ pod: id, reason: messageOf(error) }, 'A shim cannot be reached');
        if (isWantOfOurs(error)) await delay(untilWeHaveMs, undefined, { ref: false });
        else tries--;
      }
    }
    try {
      await this.#access.killShim(this.#directory(id));
    } catch (error) {
      log.error({ pod: id, reason: messageOf(error) }, 'A shim that is lost could not be killed');
    }
    this.#events.onLost(id); // in any case: else its pod would be ready for ever
  }

  async #catchUp(id: PodId, shim: Shim): Promise<void> {
    const { pausePid, processes } = await shim.list();
    for (const { key, lost } of processes) if (lost.bytes > 0) this.#events.onLogLost(id, key, lost);
    for (const { exit } of processes) if (exit) this.#events.onExit(id, exit);
    if (pausePid === 0) this.#events.onPauseExit(id);
  }
}
