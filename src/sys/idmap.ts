import { loadAddon } from './addon.ts';
import { attributesOf, type MountLimits } from './mounts.ts';

/** A run of ids: `containerId..` inside is `hostId..` outside. */
export type IdRange = { readonly hostId: number; readonly containerId: number; readonly length: number };
export type IdMaps = { readonly uids: readonly IdRange[]; readonly gids: readonly IdRange[] };

type Addon = {
  bindMapped(source: string, target: string, uids: string, gids: string, attributes: number): number;
};

const addon = loadAddon<Addon>();

/** The lines of uid_map and gid_map (user_namespaces(7)). */
export const mapLines = (ranges: readonly IdRange[]): string =>
  ranges.map(({ containerId, hostId, length }) => `${containerId} ${hostId} ${length}\n`).join('');

/**
 * Bind-mounts `source` on `target`, with the mounts below it; files of the first mount show the owners that `maps` give
 * them: 0 on the disk is maps' hostId of 0 here, and the other way for what is written.
 * The limits are of the first mount too.
 * @throws Error EINVAL from a file system that cannot do this, EPERM from one that was mapped already.
 */
export function bindMapped(source: string, target: string, maps: IdMaps, limits: MountLimits = {}): void {
  addon.bindMapped(source, target, mapLines(maps.uids), mapLines(maps.gids), attributesOf(limits));
}

/** The id outside for one inside, or null where nothing maps it. */
export function hostId(ranges: readonly IdRange[], id: number): number | null {
  const range = ranges.find(({ containerId, length }) => id >= containerId && id < containerId + length);
  return range ? range.hostId + (id - range.containerId) : null;
}
