import { join } from 'node:path';
import { isFault, messageOf } from '../base/fault.ts';
import type { HostFiles } from '../base/host-files.ts';
import { jsonOf } from '../base/parse.ts';
import { ownFiles } from '../sys/own-files.ts';

export type PluginConfig = {
  readonly type: string;
  readonly capabilities?: Readonly<Record<string, boolean>>;
} & Readonly<Record<string, unknown>>;

/** One CNI network configuration list (CNI spec, section 1). */
export type NetworkList = {
  readonly name: string;
  /** The newest of those that the list says it is good for, as far as it is known here. */
  readonly cniVersion: string;
  /** Others share the network: what is no attachment of ours is no garbage. */
  readonly disableGC: boolean;
  readonly plugins: readonly PluginConfig[];
  /** The file's bytes, or the list that was made of a single-plugin file. */
  readonly source: string;
};

const extensions = ['.conflist', '.conf', '.json'];
const maxBytes = 1 << 20;
/** CNI spec, section 2: what a network name may be. It becomes part of a file name. */
const namePattern = /^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$/;

/**
 * Reads one network list. A `.conf` with a single plugin counts as a list of one.
 * @throws Error that says what is wrong with it.
 */
export function parseNetworkList(source: string): NetworkList {
  const json: unknown = jsonOf(source);
  if (typeof json !== 'object' || json === null || Array.isArray(json)) throw new Error('it is not a JSON object');
  const { name, cniVersion, cniVersions, disableGC, plugins } = json as Record<string, unknown>;
  const single = plugins === undefined && 'type' in json;
  const list: unknown = single ? [json] : plugins;
  if (typeof name !== 'string' || !namePattern.test(name)) throw new Error(`name ${JSON.stringify(name)} is not valid`);
  if (!Array.isArray(list) || list.length === 0) throw new Error('plugins is missing or empty');
  for (const plugin of list) {
    const type: unknown = plugin?.type;
    if (typeof type !== 'string' || type === '' || type.includes('/') || type === '.' || type === '..') {
      throw new Error(`plugin type ${JSON.stringify(type)} must be the name of a program, without a path`);
    }
  }
  const version = newestOf(cniVersion, cniVersions);
  const whole = single ? JSON.stringify({ name, cniVersion: version, plugins: list }) : source;
  return { name, cniVersion: version, disableGC: flag('disableGC', disableGC), plugins: list, source: whole };
}

/** The newest version of the CNI specification that Berth speaks. */
const newest = '1.1.0';

/** CNI spec, "Version considerations": the highest that both sides know. A list that names none is of the first. */
function newestOf(cniVersion: unknown, cniVersions: unknown): string {
  const one = typeof cniVersion === 'string' && cniVersion !== '' ? cniVersion : '';
  if (cniVersions === undefined) return one || '0.1.0';
  const all: readonly unknown[] = Array.isArray(cniVersions) ? cniVersions : [null];
  const wrong = all.find((each) => typeof each !== 'string' || !/^\d+\.\d+\.\d+$/.test(each));
  if (wrong !== undefined) throw new Error(`cniVersions ${JSON.stringify(cniVersions)} is no list of versions`);
  const known = [...(all as readonly string[]), one].filter((each) => each !== '' && byVersion(each, newest) <= 0);
  return known.sort(byVersion).at(-1) ?? (one || '0.1.0');
}

function byVersion(a: string, b: string): number {
  const [x, y] = [a.split('.').map(Number), b.split('.').map(Number)];
  const at = x.findIndex((number, index) => number !== y[index]);
  return at < 0 ? 0 : (x[at] ?? 0) - (y[at] ?? 0);
}

/** libcni takes the words as well. */
function flag(key: string, value: unknown): boolean {
  const word = typeof value === 'string' ? value.toLowerCase() : value;
  if (word === undefined || word === false || word === 'false') return false;
  if (word === true || word === 'true') return true;
  throw new Error(`${key} ${JSON.stringify(value)} is not true or false`);
}

/** What a look into the configuration directory found: the valid lists in file-name order, and what is wrong. */
export type FoundNetworks = { readonly lists: readonly NetworkList[]; readonly problems: readonly string[] };

type Known = { readonly text: string; readonly list: NetworkList | null; readonly problem: string };

/** More is no configuration directory. */
const mostNames = 1000;

/**
 * Reads a CNI configuration directory as often as asked and parses only files that changed. Looking again at every
 * use needs no watcher, so a directory that appears later is found as well.
 */
export class ConflistDirectory {
  readonly #directory: string;
  readonly #files: HostFiles;
  #known = new Map<string, Known>();

  constructor(directory: string, files: HostFiles = ownFiles()) {
    this.#directory = directory;
    this.#files = files;
  }

  /** @throws Fault DeadlineExceeded if it does not answer */
  async look(): Promise<FoundNetworks> {
    const all = await this.#files.list(this.#directory, mostNames);
    if (all === null) return { lists: [], problems: [`the directory ${this.#directory} does not exist`] };
    const names = all.map(([name]) => name).filter((name) => extensions.some((end) => name.endsWith(end)));
    const read = await Promise.all(names.map(async (name) => [name, await this.#read(name)] as const));
    this.#known = new Map(read);
    const lists = read.flatMap(([, { list }]) => (list ? [list] : []));
    const problems = read.flatMap(([name, { problem }]) => (problem ? [`${name}: ${problem}`] : []));
    if (names.length === 0) problems.push(`no network configuration in ${this.#directory}`);
    return { lists, problems };
  }

  async #read(name: string): Promise<Known> {
    let text = '';
    try {
      text = await this.#files.readText(join(this.#directory, name), maxBytes);
      const known = this.#known.get(name);
      return known?.text === text ? known : { text, list: parseNetworkList(text), problem: '' };
    } catch (error) {
      if (isFault(error, 'DeadlineExceeded', 'Unavailable')) throw error; // of who reads it, not of the file
      return { text, list: null, problem: messageOf(error) };
    }
  }
}
