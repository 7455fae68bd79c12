import { isObject } from '../base/json.ts';
import { jsonOf } from '../base/parse.ts';

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
  /** The file's bytes, or the list that was made of several files or of a single-plugin one. */
  readonly source: string;
};

/** CNI spec, section 2: what a network name may be. It becomes part of a file name. */
const namePattern = /^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$/;

/** A network list as it stands in its file. */
export type NetworkFile = NetworkList & {
  /** Plugins that stand in files of their own, in a folder called by the network, belong to it (CNI 1.1). */
  readonly openToMore: boolean;
};

/**
 * Reads one network list. A `.conf` with a single plugin counts as a list of one.
 * @throws Error that says what is wrong with it; a list without plugins is none as long as it is not open to more.
 */
export function parseNetworkList(source: string): NetworkFile {
  const json = objectOf(source);
  const { name, cniVersion, cniVersions, disableGC, loadOnlyInlinedPlugins, plugins } = json;
  const single = plugins === undefined && 'type' in json;
  const openToMore = !flag('loadOnlyInlinedPlugins', loadOnlyInlinedPlugins) && !single;
  const list: unknown = single ? [json] : (plugins ?? (openToMore ? [] : undefined));
  if (typeof name !== 'string' || !namePattern.test(name)) throw new Error(`name ${JSON.stringify(name)} is not valid`);
  if (!Array.isArray(list) || (list.length === 0 && plugins !== undefined))
    throw new Error('plugins is missing or empty');
  for (const plugin of list) checkPlugin(plugin);
  const version = newestOf(cniVersion, cniVersions);
  const whole = single ? JSON.stringify({ name, cniVersion: version, plugins: list }) : source;
  const gc = flag('disableGC', disableGC);
  return { name, cniVersion: version, disableGC: gc, plugins: list, source: whole, openToMore };
}

/** The same list with plugins of its folder at its end. Its source says that these are all: it is read where no folder is. */
export function withMore(file: NetworkFile, more: readonly PluginConfig[]): NetworkFile {
  const plugins = [...file.plugins, ...more];
  if (plugins.length === 0) throw new Error(`plugins is missing, and so are files *.conf in the folder ${file.name}`);
  if (more.length === 0) return file;
  const source = JSON.stringify({ ...objectOf(file.source), plugins, loadOnlyInlinedPlugins: true });
  return { ...file, plugins, source, openToMore: false };
}

/** One plugin of a list, in a file of its own. @throws Error that says what is wrong with it */
export function parsePlugin(source: string): PluginConfig {
  const plugin = objectOf(source);
  checkPlugin(plugin);
  return plugin;
}

function objectOf(source: string): Record<string, unknown> {
  const json: unknown = jsonOf(source);
  if (isObject(json)) return json;
  throw new Error('it is not a JSON object');
}

function checkPlugin(plugin: unknown): asserts plugin is PluginConfig {
  const type: unknown = (plugin as { type?: unknown } | null)?.type;
  if (typeof type === 'string' && type !== '' && !type.includes('/') && type !== '.' && type !== '..') return;
  throw new Error(`plugin type ${JSON.stringify(type)} must be the name of a program, without a path`);
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
