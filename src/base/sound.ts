import { messageOf } from './fault.ts';
import { log } from './log.ts';

type Identified = { readonly id: string };

/** Records are replaced, never edited: one that was told of is told of again only after it changed. */
const told = new WeakSet<Identified>();

function tell(record: Identified, error: unknown): void {
  if (told.has(record)) return;
  told.add(record);
  log.error({ id: record.id, reason: messageOf(error) }, 'A record cannot be shown; it is left out of lists');
}

/**
 * What `use` makes of each item. One that it throws for is left out, and its record is logged once: a list that everybody
 * needs must not fail by what one record of it holds.
 */
export function eachSound<T, R>(items: Iterable<T>, recordOf: (item: T) => Identified, use: (item: T) => R): R[] {
  const results: R[] = [];
  for (const item of items) {
    try {
      results.push(use(item));
    } catch (error) {
      tell(recordOf(item), error);
    }
  }
  return results;
}

/** The same for what takes time; all at once, results in the order of the records. */
export async function eachSoundSoon<T extends Identified, R>(
  records: readonly T[],
  use: (record: T) => Promise<R>,
): Promise<R[]> {
  const settled = await Promise.allSettled(records.map(async (record) => use(record)));
  return settled.flatMap((result, i) => {
    if (result.status === 'fulfilled') return [result.value];
    tell(records[i]!, result.reason);
    return [];
  });
}

/** A record is its own. */
export const itself = <T extends Identified>(record: T): Identified => record;
