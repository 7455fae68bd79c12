import { sameJson } from './json.ts';
import { type Members, ownMember, Setting, type Settings, settingsTable, snake, type Table } from './settings-table.ts';

/** The settings that differ, by their keys: what is in force now, and what will be from the next start on. */
export type Adopted = { readonly inForce: readonly string[]; readonly atNextStart: readonly string[] };

/** Puts into `current`, which the whole daemon reads, what a reload may change of `fresh`. */
export function adopt(current: Settings, fresh: Settings): Adopted {
  const adopted = { inForce: [] as string[], atNextStart: [] as string[] };
  walk(settingsTable, { current: current as Values, fresh: fresh as Values, at: '' }, adopted);
  return adopted;
}

type Values = Record<string, unknown>;
type Place = { readonly current: Values; readonly fresh: Values; readonly at: string };

function walk(
  { members }: Table<Members>,
  { current, fresh, at }: Place,
  adopted: { readonly inForce: string[]; readonly atNextStart: string[] },
): void {
  for (const name of new Set([...Object.keys(current), ...Object.keys(fresh)])) {
    if (sameJson(current[name], fresh[name])) continue;
    const known = ownMember(members, name);
    const key = at + snake(name);
    if (known instanceof Setting) {
      if (known.live) current[name] = fresh[name];
      (known.live ? adopted.inForce : adopted.atNextStart).push(key);
    } else if (known && !known.open) {
      walk(known, { current: current[name] as Values, fresh: fresh[name] as Values, at: `${key}.` }, adopted);
    } else adopted.atNextStart.push(key);
  }
}
