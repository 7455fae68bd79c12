import { Fault } from './fault.ts';

/** setTimeout's largest delay, 24.8 days: a longer one would fire at once. */
export const longestMs = 2 ** 31 - 1;

/**
 * Rejects with DeadlineExceeded naming `step` unless `work` settles within `ms` milliseconds (monotonic). The work
 * itself is not stopped: give it its own signal where it can be.
 */
export async function within<T>(ms: number, step: string, work: Promise<T>): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(
    () => reject(new Fault('DeadlineExceeded', `${step} did not finish within ${ms / 1000} s`)),
    Math.min(ms, longestMs),
  );
  work.catch(() => {});
  try {
    return await Promise.race([work, promise]);
  } finally {
    clearTimeout(timer);
  }
}
