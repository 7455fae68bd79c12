import { messageOf } from './fault.ts';
import { step } from './trace.ts';

/** A named part of a larger undo; its name appears in the error when it fails. */
export type Step = readonly [name: string, run: () => unknown];

/**
 * Runs every step in order, also after one fails, and then throws one AggregateError that names all that failed.
 * Each step must be idempotent: the whole list is run again on the next try.
 */
export async function runAll(what: string, steps: readonly Step[]): Promise<void> {
  const errors: Error[] = [];
  for (const [name, run] of steps) {
    try {
      await step(`undo: ${name}`, run);
    } catch (error) {
      errors.push(new Error(`${name}: ${messageOf(error)}`, { cause: error }));
    }
  }
  if (errors.length > 0) {
    throw new AggregateError(errors, `Cannot ${what}: ${errors.map((e) => e.message).join('; ')}`);
  }
}

/**
 * As Promise.all, but rejects only once all have settled: an undo that follows must not race with what still runs.
 */
export async function allOf<const T extends readonly Promise<unknown>[]>(work: T) {
  await Promise.allSettled(work);
  return Promise.all(work);
}
