import { Turns } from '../base/turns.ts';

/** Of one kind at once; each is a thread, of little priority. */
const mostAtOnce = 16;

const turns = new Turns(mostAtOnce);

/**
 * Does what has a thread of its own in the addon (work.h), as it may take as long as others made what it works on. Beyond
 * `mostAtOnce` of a kind it waits for its turn.
 */
export async function apart<T>(kind: 'copy' | 'remove', work: () => Promise<T>): Promise<T> {
  using _ = await turns.take(kind, new AbortController().signal);
  return await work();
}
