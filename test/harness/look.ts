import { Looker } from '../../src/shim/index.ts';

/** Far more than anything takes that answers. */
export const patienceMs = 60_000;

/** Labels a tree by a looker of its own. */
export async function labelTree(path: string, attribute: string, value: string): Promise<void> {
  using looker = new Looker(patienceMs);
  await looker.label(path, attribute, value);
}
