type Sample = { readonly at: number; readonly total: number };
type Track = { readonly older: Sample; readonly newer: Sample };

/** A rate over less would be noise. */
const shortestMs = 1000;

/**
 * Nanoseconds of CPU per second, over the time between two looks. The first look measures since the start; looks in
 * quick succession (kubelet and a human) share the older one, so that the interval stays a real one.
 */
export class CpuRates {
  readonly #tracks = new Map<string, Track>();
  readonly #now: () => number;

  /** `now` in milliseconds, monotonic: by the host's time of day a rate would be 0 from when it is set back until it is as late again. */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** @param ranMs how long ago the usage was 0. */
  rate(key: string, total: number, ranMs: number): number {
    const now = this.#now();
    const start = { at: now - Math.max(ranMs, 0), total: 0 };
    const { newer, older } = this.#tracks.get(key) ?? { older: start, newer: start };
    const restarted = total < newer.total; // another cgroup of the same name
    const base = restarted ? start : now - newer.at >= shortestMs ? newer : older;
    const keepNewer = !restarted && now - newer.at < shortestMs;
    this.#tracks.set(key, { older: base, newer: keepNewer ? newer : { at: now, total } });
    return now > base.at ? Math.round(((total - base.total) / (now - base.at)) * 1000) : 0;
  }

  /** Forgets what is no longer there. */
  keep(keys: ReadonlySet<string>): void {
    for (const key of this.#tracks.keys()) if (!keys.has(key)) this.#tracks.delete(key);
  }
}
