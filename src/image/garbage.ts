import type { Snapshot } from '../model/snapshot.ts';

export type GcOptions = { readonly usedParents?: Iterable<string>; readonly dryRun?: boolean };

/** Committed snapshots that nothing needs: no active one or one of `usedParents` stands on them. What stands on others comes first. */
export function unneeded(
  all: readonly Snapshot[],
  usedParents: Iterable<string>,
  isNeeded: (key: string) => boolean,
): string[] {
  const committed = all.filter(({ kind }) => kind === 'committed');
  const parents = new Map(committed.map(({ key, parent }) => [key, parent]));
  const used = new Set<string>();
  const active = all.filter(({ kind }) => kind === 'active').map(({ parent }) => parent ?? '');
  for (let key of [...usedParents, ...active]) {
    for (; parents.has(key) && !used.has(key); key = parents.get(key) ?? '') used.add(key);
  }
  const depth = (key: string): number => {
    let steps = 0;
    for (let at: string | null = key; at !== null && steps < 1000; at = parents.get(at) ?? null) steps++;
    return steps;
  };
  return [...parents.keys()].filter((key) => !used.has(key) && !isNeeded(key)).sort((a, b) => depth(b) - depth(a));
}
