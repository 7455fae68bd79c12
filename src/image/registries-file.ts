import { join } from 'node:path';
import { Fault, messageOf } from '../base/fault.ts';
import { type HostFiles, isNoAnswer } from '../base/host-files.ts';
import { isObject } from '../base/json.ts';
import { tomlOf } from '../base/parse.ts';

const maxFileBytes = 1024 * 1024;

export type Table = Record<string, unknown>;
export type ConfFile = { readonly file: string; readonly table: Table };

/**
 * A registries.conf (containers-registries.conf(5), version 2) and the *.conf files of its .d folder, in the order in which a
 * later one counts for more.
 * @throws Fault FailedPrecondition that names the file that is wrong or gone.
 */
export async function readConf(path: string, files: HostFiles): Promise<ConfFile[]> {
  const all = [path, ...(await dropIns(`${path}.d`, files))];
  return Promise.all(all.map(async (file) => ({ file, table: await readTable(file, files) })));
}

export const cannotUse = (file: string, error: unknown) =>
  new Fault('FailedPrecondition', `Cannot use ${file} (images.registries_conf): ${messageOf(error)}`, { cause: error });

/** More is no folder of such files. */
const mostNames = 1000;

async function dropIns(folder: string, files: HostFiles): Promise<string[]> {
  const names = (await files.list(folder, mostNames)) ?? [];
  return names.map(([name]) => join(folder, name)).filter((path) => path.endsWith('.conf'));
}

async function readTable(file: string, files: HostFiles): Promise<Table> {
  try {
    const table: Table = tomlOf(await files.readText(file, maxFileBytes));
    if (table.registries !== undefined) throw new Error('it is in version 1 of the format: write [[registry]]');
    return table;
  } catch (error) {
    throw isNoAnswer(error) ? error : cannotUse(file, error);
  }
}

export function tablesOf(value: unknown, what: string): Table[] {
  if (value === undefined) return [];
  if (!Array.isArray(value) || !value.every(isObject)) throw new Error(`${what} is no list of tables: [[${what}]]`);
  return value;
}

export function textOf(table: Table, key: string): string {
  const value = table[key] ?? '';
  if (typeof value !== 'string') throw new Error(`${key} is no text`);
  return value.replace(/\/+$/, '');
}

export function flagOf(table: Table, key: string): boolean {
  const value = table[key] ?? false;
  if (typeof value !== 'boolean') throw new Error(`${key} is neither true nor false`);
  return value;
}
