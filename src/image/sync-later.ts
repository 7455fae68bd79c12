/** How long what was pulled waits for other pulls to end, ms; the kernel itself leaves no more than 30 s in memory (vm.dirty_expire_centisecs). */
export const mostDelayMs = 10_000;

/**
 * Brings what was pulled to the disk: once for several pulls, and when they are over, since writing all of a file system to its
 * disk stops who makes files there meanwhile. Until it is there a power failure undoes a pull.
 */
export class SyncLater {
  readonly #sync: () => Promise<void>;
  readonly #isBusy: () => boolean;
  #isWanted = false;
  #late: NodeJS.Timeout | null = null;
  #underWay: Promise<void> | null = null;

  /** `isBusy`: whether more is being pulled. `sync` must not reject. */
  constructor(sync: () => Promise<void>, isBusy: () => boolean) {
    this.#sync = sync;
    this.#isBusy = isBusy;
  }

  /** Something was pulled. Call `look` when its pull is over. */
  want(): void {
    this.#isWanted = true;
    this.#late ??= setTimeout(() => this.#start(), mostDelayMs).unref();
  }

  /** Perhaps it is time. */
  look(): void {
    if (this.#isWanted && !this.#isBusy()) this.#start();
  }

  /** Waits until all that is wanted is on the disk. */
  async idle(): Promise<void> {
    if (this.#isWanted) this.#start();
    while (this.#underWay) await this.#underWay;
  }

  #start(): void {
    if (this.#late) clearTimeout(this.#late);
    this.#late = null;
    if (this.#underWay) return; // what is wanted meanwhile is looked at after it
    this.#isWanted = false;
    this.#underWay = this.#sync().finally(() => {
      this.#underWay = null;
      if (this.#isWanted && !this.#late) this.#start();
    });
  }
}
