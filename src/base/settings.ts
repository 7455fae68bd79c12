import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'smol-toml';
import { Fault, isErrno, messageOf } from './fault.ts';
import { didYouMean } from './nearest.ts';
import { type Settings, settingsTable, snake, valuesOf } from './settings-table.ts';

export type { Settings } from './settings-table.ts';

/** Where an operator's settings are, unless another file is named. */
export const usualFile = '/etc/berth/config.toml';

/** The settings of a host without a configuration. */
export const defaults: Settings = valuesOf(settingsTable.members);

const handlerDefaults = valuesOf(settingsTable.members.handlers.open!);

/**
 * Settings from one TOML file and the `*.toml` files of `<file>.d`, in name order, over the defaults. A file that was named
 * must exist; the usual one counts as empty if it does not. InvalidArgument names the file and the key for an unknown key or
 * a wrong type.
 */
export function loadSettings(named?: string): Settings {
  const file = named ?? usualFile;
  const own = readToml(file);
  if (own === null && named !== undefined) {
    throw new Fault('InvalidArgument', `There is no configuration ${named}: make it, or leave --config out`);
  }
  const rest = dropIns(`${file}.d`).map((path) => [path, readToml(path)] as const);
  const settings = [[file, own] as const, ...rest].reduce(
    (so, [path, given]) => merge(so, given ?? {}, path, ''),
    structuredClone(defaults),
  );
  check(settings);
  return settings;
}

function dropIns(folder: string): string[] {
  try {
    const names = readdirSync(folder).filter((name) => name.endsWith('.toml'));
    return names.sort().map((name) => join(folder, name));
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return [];
    throw error;
  }
}

/** Null if there is no such file. */
function readToml(path: string): Record<string, unknown> | null {
  try {
    return parse(readFileSync(path, 'utf8'));
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return null;
    throw new Fault('InvalidArgument', `Cannot read configuration ${path}: ${messageOf(error)}`, { cause: error });
  }
}

/** Lays `given` over `base`; only keys that `base` knows, only values of the same type. */
function merge<T extends object>(base: T, given: Record<string, unknown>, path: string, under: string): T {
  const names = new Map(Object.keys(base).map((name) => [snake(name), name]));
  const open = under === 'handlers.'; // the only table whose keys are the operator's own
  const result: Record<string, unknown> = { ...(base as Record<string, unknown>) };
  for (const [key, value] of Object.entries(given)) {
    const name = names.get(key) ?? (open ? key : undefined);
    const fault = (why: string) => new Fault('InvalidArgument', `Configuration ${path}: ${under}${key} ${why}`);
    if (name === undefined)
      throw fault(`is unknown${didYouMean(key, names.keys())} (known here: ${[...names.keys()].join(', ')})`);
    const known = result[name] ?? handlerDefaults;
    if (kindOf(known) !== kindOf(value)) throw fault(`is ${kindOf(value)}, it must be ${kindOf(known)}`);
    const table = kindOf(known) === 'table';
    result[name] = table ? merge(known, value as Record<string, unknown>, path, `${under}${key}.`) : value;
  }
  return result as T;
}

const kindOf = (value: unknown): string =>
  Array.isArray(value) ? 'array' : typeof value === 'object' ? 'table' : typeof value;

function check(settings: Settings): void {
  const wrong = (why: string) => new Fault('InvalidArgument', `Configuration: ${why}`);
  for (const key of ['socket', 'dataDir', 'runDir', 'cgroupParent'] as const) {
    if (!settings[key].startsWith('/')) throw wrong(`${snake(key)} = "${settings[key]}" must be an absolute path`);
  }
  if (settings.runDir.length > 40) throw wrong(`run_dir = "${settings.runDir}" is longer than 40 characters`);
  if (!['cgroupfs', 'systemd'].includes(settings.cgroupDriver)) {
    throw wrong(`cgroup_driver = "${settings.cgroupDriver}" must be cgroupfs or systemd`);
  }
  for (const [name, { path, cniConfDir }] of Object.entries(settings.handlers)) {
    if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/.test(name)) throw wrong(`handlers."${name}" is not a handler's name`);
    if (!path.startsWith('/')) throw wrong(`handlers.${name}.path = "${path}" must be an absolute path`);
    if (!/^(\/|$)/.test(cniConfDir)) throw wrong(`handlers.${name}.cni_conf_dir = "${cniConfDir}" must be absolute`);
  }
  if (!settings.handlers[settings.defaultHandler]) {
    throw wrong(`default_handler = "${settings.defaultHandler}" is not in [handlers]`);
  }
}
