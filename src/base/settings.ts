import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { Fault, isErrno, messageOf } from './fault.ts';
import { didYouMean } from './nearest.ts';
import { name } from './setting-kinds.ts';
import { readToml } from './settings-file.ts';
import {
  type Members,
  ownMember,
  Setting,
  type Settings,
  settingsTable,
  snake,
  Table,
  valuesOf,
} from './settings-table.ts';

export type { Settings } from './settings-table.ts';

/** Where an operator's settings are, unless another file is named. */
const usualFile = '/etc/berth/config.toml';

/** What loadSettings looks at first: the file, and the folder with others over it. */
export const configurationPaths = (named = usualFile): readonly [file: string, dropIns: string] => [
  named,
  `${named}.d`,
];

/** The settings of a host without a configuration. */
export const defaults: Settings = valuesOf(settingsTable.members);

/**
 * Settings from one TOML file and the `*.toml` files of `<file>.d`, in name order, over the defaults. A file that was named
 * must exist; the usual one counts as empty if it does not. InvalidArgument names the file and the key for an unknown key or
 * what a setting cannot be. `below`: what counts where the files say nothing.
 */
export function loadSettings(named?: string, below: Values = {}): Settings {
  const [file, folder] = configurationPaths(named);
  const own = readToml(file);
  if (own === null && named !== undefined) {
    throw new Fault('InvalidArgument', `There is no configuration ${named}: make it, or leave --config out`);
  }
  const rest = dropIns(folder).map((path) => [path, readToml(path)] as const);
  const settings = [['the environment', below] as const, [file, own] as const, ...rest].reduce(
    (so, [file, given]) => merge(settingsTable, so, given ?? {}, { file, under: '' }),
    structuredClone(defaults) as Values,
  ) as Settings;
  const whole = { ...settings, tracing: spokenSo(settings.tracing, below) };
  check(whole);
  return whole;
}

/** A variable's endpoint has a path for HTTP; a file may say that grpc is spoken, which has none. */
function spokenSo(tracing: Settings['tracing'], { tracing: below }: Values): Settings['tracing'] {
  const { endpoint, protocol } = tracing;
  const isVariables = isTable(below) && below.endpoint === endpoint;
  return isVariables && protocol === 'grpc' ? { ...tracing, endpoint: new URL(endpoint).origin } : tracing;
}

function dropIns(folder: string): string[] {
  try {
    const names = readdirSync(folder).filter((name) => /^[^.].*\.toml$/.test(name)); // editors keep theirs behind a dot
    return names.sort().map((name) => join(folder, name));
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return [];
    throw new Fault('InvalidArgument', `Cannot read the folder of the configuration: ${messageOf(error)}`, {
      cause: error,
    });
  }
}

/** Lays `given` over `base`: only keys that the table knows, or that its operator may name, and only values of their kind. */
function merge(table: Table<Members>, base: Values, given: Values, at: Place): Values {
  const names = new Map(Object.keys(table.members).map((key) => [snake(key), key]));
  const result = { ...base };
  for (const [key, value] of Object.entries(given)) {
    const shown = at.under + (name.takes(key) ? key : JSON.stringify(key));
    const fault = (why: string) => new Fault('InvalidArgument', `Configuration ${at.file}: ${shown} ${why}`);
    const member = names.get(key) ?? (table.open ? key : undefined);
    if (member === undefined) throw fault(whyUnknown(key, [...names.keys()], at));
    if (!name.takes(key)) throw fault('is not a name: letters, digits and ._-, at most 128 of them');
    const known = ownMember(table.members, member) ?? new Table('', table.open!);
    if (known instanceof Setting) {
      const { kind } = known;
      if (!kind.takes(value)) throw fault(`= ${inWords(kind.quoted?.(value) ?? value)} must be ${kind.what}`);
      result[member] = value;
    } else {
      if (!isTable(value)) throw fault(`= ${inWords(value)} must be a table: [${shown}]`);
      const before = ownMember(result, member) ?? valuesOf(known.members);
      result[member] = merge(known, before as Values, value, { file: at.file, under: `${shown}.` });
    }
  }
  return result;
}

function whyUnknown(key: string, known: readonly string[], at: Place): string {
  const runtime = at.under === '' ? ownMember(runtimeOf, key) : undefined;
  if (runtime) return `is a setting of ${runtime}: Berth has its own, which berth config lists with what they mean`;
  return `is unknown${didYouMean(key, known)} (known here: ${known.join(', ')})`;
}

/** What other runtimes' configurations begin with: theirs are taken for Berth's. */
const runtimeOf: Readonly<Record<string, string>> = {
  version: 'containerd',
  root: 'containerd',
  state: 'containerd',
  plugins: 'containerd',
  crio: 'CRI-O',
};

type Values = { [name: string]: unknown };
type Place = { readonly file: string; readonly under: string };

const isTable = (value: unknown): value is Values =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date);

/** A value as it was written, or nearly so. */
function inWords(value: unknown): string {
  if (isTable(value)) return 'a table';
  const text = typeof value === 'number' || value instanceof Date ? String(value) : JSON.stringify(value);
  return text.length > 100 ? `${text.slice(0, 100)}...` : text;
}

/** What no single value shows. */
function check({ handlers, defaultHandler, tracing }: Settings): void {
  const wrong = (why: string) => new Fault('InvalidArgument', `Configuration: ${why}`);
  for (const [name, { path }] of Object.entries(handlers)) {
    if (path === '') throw wrong(`handlers.${name} has no path: the absolute path of its program`);
  }
  if (!Object.hasOwn(handlers, defaultHandler)) {
    throw wrong(`default_handler = "${defaultHandler}" is not in [handlers] (${Object.keys(handlers).join(', ')})`);
  }
  if (tracing.protocol === 'grpc' && tracing.endpoint !== '' && new URL(tracing.endpoint).pathname !== '/')
    throw wrong(`tracing.endpoint = "${tracing.endpoint}" has a path, which grpc has none for: leave it out`);
}
