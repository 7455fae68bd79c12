import { digestAlgorithms, type ImageId, isDigest } from '../model/ids.ts';
import type { Image } from '../model/image.ts';
import type { Records } from '../state/records.ts';
import { canonical, type Reference } from './reference.ts';

/** By any of what a name may mean, by digest, by id, or by the start of an id (three digits or more) if it means one image only. */
export function findImage(
  nameOrId: string,
  records: Records<ImageId, Image>,
  meanings: (name: string) => readonly Reference[],
): Image | undefined {
  if (nameOrId === '') return undefined;
  const [, algorithm, hex] = /^(?:(sha256|sha512):)?([0-9a-f]{3,128})$/.exec(nameOrId) ?? [];
  const ids = hex ? (algorithm ? [algorithm] : digestAlgorithms).map((name) => `${name}:${hex}`) : [];
  const whole = ids.find(isDigest);
  if (whole) return records.get(whole as string as ImageId);
  const [found, ...more] = ids.map((id) => records.find(id)).filter((image) => image !== undefined);
  return named(meanings(nameOrId).map(canonical), records) ?? (more.length === 0 ? found : undefined);
}

function named(names: readonly string[], records: Records<ImageId, Image>): Image | undefined {
  for (const name of names) {
    for (const image of records.all()) {
      if (image.tags.includes(name) || image.digests.includes(name)) return image;
    }
  }
  return undefined;
}
