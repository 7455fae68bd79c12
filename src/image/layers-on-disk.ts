import { setTimeout as delay } from 'node:timers/promises';
import type { Snapshots } from '../snapshot/index.ts';
import type { Usage } from '../sys/files.ts';

/** So long who asks waits for what is not measured yet. After a start that is every layer, which may take minutes. */
const patienceMs = 2000;

/** What layers take on the disk. The tree of a committed one never changes: it is measured once, one tree after the other. */
export class LayersOnDisk {
  readonly #snapshots: Pick<Snapshots, 'list' | 'get' | 'usage'>;
  readonly #patienceMs: number;
  readonly #known = new Map<string, Usage>();
  #measuring: Promise<void> | null = null;

  constructor(snapshots: Pick<Snapshots, 'list' | 'get' | 'usage'>, waitMs = patienceMs) {
    this.#snapshots = snapshots;
    this.#patienceMs = waitMs;
  }

  /** All of them together, as `du` counts; without those that are yet to be measured. */
  async usage(): Promise<Usage> {
    this.#measuring ??= this.#measure().finally(() => {
      this.#measuring = null;
    });
    await Promise.race([this.#measuring, delay(this.#patienceMs, undefined, { ref: false })]);
    const total = { bytes: 0, inodes: 0 };
    for (const { key } of this.#snapshots.list()) {
      total.bytes += this.#known.get(key)?.bytes ?? 0;
      total.inodes += this.#known.get(key)?.inodes ?? 0;
    }
    return total;
  }

  /** Of one that was removed: what has its key later is another tree. */
  forget(key: string): void {
    this.#known.delete(key);
  }

  /** Of one, however long it takes. One that is removed meanwhile takes nothing. */
  async of(key: string): Promise<Usage> {
    const usage = this.#known.get(key) ?? (await this.#snapshots.usage(key));
    if (usage && this.#snapshots.get(key)) this.#known.set(key, usage);
    return usage ?? { bytes: 0, inodes: 0 };
  }

  async #measure(): Promise<void> {
    for (const { key, kind } of this.#snapshots.list()) if (kind === 'committed') await this.of(key);
  }
}
