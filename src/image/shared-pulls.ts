import { Fault } from '../base/fault.ts';
import { unlessAborted } from '../base/shared-runs.ts';

type Run<T> = { readonly work: Promise<T>; readonly stop: AbortController; waiting: number };

/**
 * Joins equal pulls. Unlike other shared work, a pull that nobody waits for any more is called off: it would fill the disk
 * for no one.
 */
export class SharedPulls<T> {
  readonly #runs = new Map<string, Run<T>>();
  /** Everything under way, with the runs that were called off and still clean up. */
  readonly #all = new Set<Run<T>>();

  /** Settles when nothing is under way. */
  async idle(): Promise<void> {
    while (this.#all.size > 0) await Promise.allSettled([...this.#all].map(({ work }) => work));
  }

  /** Calls off every run. */
  stop(): void {
    for (const { stop } of this.#all) stop.abort(new Fault('Cancelled', 'The pull was called off: the daemon stops'));
  }

  /** `timeoutMs` 0: however long it takes. Starts `work` under `key`, or joins the one in flight; rejects with `signal.reason` if this caller leaves. */
  async join(
    { key, name, timeoutMs }: { key: string; name: string; timeoutMs: number },
    work: (signal: AbortSignal) => Promise<T>,
    signal?: AbortSignal,
  ): Promise<T> {
    signal?.throwIfAborted();
    const run = this.#runs.get(key) ?? this.#start(key, name, timeoutMs, work);
    run.waiting++;
    try {
      return await (signal ? unlessAborted(run.work, signal) : run.work);
    } finally {
      if (--run.waiting === 0) {
        // The next equal pull must not join one that is on its way out.
        if (this.#runs.get(key) === run) this.#runs.delete(key);
        run.stop.abort(new Fault('Cancelled', `The pull of ${name} was called off`));
      }
    }
  }

  #start(key: string, name: string, timeoutMs: number, work: (signal: AbortSignal) => Promise<T>): Run<T> {
    const stop = new AbortController();
    const late = () =>
      stop.abort(new Fault('DeadlineExceeded', `The pull of ${name} did not finish within ${timeoutMs / 1000} s`));
    const timer = timeoutMs > 0 ? setTimeout(late, timeoutMs) : undefined;
    const ended = () => {
      clearTimeout(timer);
      this.#all.delete(run);
      if (this.#runs.get(key) === run) this.#runs.delete(key);
    };
    const run: Run<T> = { work: work(stop.signal).finally(ended), stop, waiting: 0 };
    this.#runs.set(key, run);
    this.#all.add(run);
    return run;
  }
}
