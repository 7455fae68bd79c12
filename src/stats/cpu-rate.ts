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

  /** @param startedAt when the usage was 0. @param now both in milliseconds since the epoch. */
  rate(key: string, total: number, startedAt: number, now: number): number {
    const { newer, older } = this.#tracks.get(key) ?? startingTrack(startedAt);
    const restarted = total < newer.total; // another cgroup of the same name
    const base = restarted ? { at: startedAt, total: 0 } : now - newer.at >= shortestMs ? newer : older;
    const keepNewer = !restarted && now - newer.at < shortestMs;
    this.#tracks.set(key, { older: base, newer: keepNewer ? newer : { at: now, total } });
    return now > base.at ? Math.round(((total - base.total) / (now - base.at)) * 1000) : 0;
  }

  /** Forgets what is no longer there. */
  keep(keys: ReadonlySet<string>): void {
    for (const key of this.#tracks.keys()) if (!keys.has(key)) this.#tracks.delete(key);
  }
}

const startingTrack = (startedAt: number): Track => {
  const start = { at: startedAt, total: 0 };
  return { older: start, newer: start };
};
