import { unlessAborted } from '../base/shared-runs.ts';
import type { PodId } from '../model/ids.ts';

/**
 * The pods whose records and host are still being brought together after a start. Calls are served meanwhile; one on such
 * a pod waits for that pod only.
 */
export class Mending {
  readonly #pods = new Map<PodId, Promise<void>>();

  get size(): number {
    return this.#pods.size;
  }

  ids(): PodId[] {
    return [...this.#pods.keys()];
  }

  has(id: PodId): boolean {
    return this.#pods.has(id);
  }

  /** The pod counts as being mended until `work` ends, however it ends. */
  track(id: PodId, work: Promise<void>): void {
    const ended = work.catch(() => {}).then(() => void this.#pods.delete(id));
    this.#pods.set(id, ended);
  }

  /** Resolves when the pod is not being mended, at once for most. Rejects with the signal's reason. */
  async settled(id: PodId, signal: AbortSignal): Promise<void> {
    const work = this.#pods.get(id);
    if (work) await unlessAborted(work, signal);
  }
}
