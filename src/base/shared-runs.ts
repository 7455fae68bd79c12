/**
 * Joins identical work: while a run under a key is in flight, every further caller gets its result. A caller
 * whose signal aborts detaches with that signal's reason; the work itself goes on.
 */
export class SharedRuns<T> {
  readonly #runs = new Map<string, Promise<T>>();

  /** True while work under `key` is in flight. */
  has(key: string): boolean {
    return this.#runs.has(key);
  }

  /** Starts `work` under `key`, or joins the run in flight. Rejects with `signal.reason` if the caller leaves. */
  join(key: string, work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    let run = this.#runs.get(key);
    if (!run) {
      run = work().finally(() => this.#runs.delete(key));
      this.#runs.set(key, run);
    }
    return signal ? unlessAborted(run, signal) : run;
  }
}

/** Settles as `work` does, or rejects with `signal.reason` as soon as the signal aborts. */
export async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const leave = () => reject(signal.reason);
  if (signal.aborted) leave();
  signal.addEventListener('abort', leave, { once: true });
  work.catch(() => {}); // nobody may be left to hear it
  try {
    return await Promise.race([work, promise]);
  } finally {
    signal.removeEventListener('abort', leave);
  }
}
