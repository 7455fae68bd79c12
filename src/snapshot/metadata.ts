import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isErrno } from '../base/fault.ts';
import { jsonOf } from '../base/parse.ts';
import type { Snapshot } from '../model/snapshot.ts';
import { isTemporary, replaceFile } from '../sys/write-file.ts';

export type Metadata = Snapshot & {
  /** The boot whose page cache may hold its files, or null once they are known to be on disk. */
  readonly boot: string | null;
  /** Bytes of file content that a layer unpacked to; 0 for an active one. */
  readonly size: number;
};

const fileName = 'snapshot.json';

/** Writes the metadata beside the tree in `directory`, in one step. */
export const writeMetadata = (directory: string, metadata: Metadata): Promise<void> =>
  replaceFile(join(directory, fileName), JSON.stringify(metadata));

/** Reads it back; null if it is missing, damaged or belongs to another key: such a directory is no snapshot. */
export async function readMetadata(directory: string, keyOf: (key: string) => string): Promise<Metadata | null> {
  let text: string;
  try {
    text = await readFile(join(directory, fileName), 'utf8');
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR')) return null;
    throw error;
  }
  const metadata = parse(text);
  return metadata && directory.endsWith(`/${keyOf(metadata.key)}`) ? metadata : null;
}

function parse(text: string): Metadata | null {
  let value: unknown;
  try {
    value = jsonOf(text);
  } catch {
    return null; // torn by a power failure
  }
  if (typeof value !== 'object' || value === null) return null;
  const { key, kind, parent, boot, size } = value as Record<string, unknown>;
  if (typeof key !== 'string' || (kind !== 'active' && kind !== 'committed')) return null;
  if (parent !== null && typeof parent !== 'string') return null;
  if (boot !== null && typeof boot !== 'string') return null;
  if (typeof size !== 'number') return null;
  return { key, kind, parent, boot, size };
}

/** True for what no snapshot is called: stages, trees on their way out, and interrupted writes. */
export const isLeftover = (name: string): boolean =>
  name.startsWith('.stage-') || name.startsWith('.remove-') || isTemporary(name);
