// CDI specifications (Container Device Interface, SPEC.md 0.3 to 1.x): what they may say, checked field by field.
import { isObject } from '../base/json.ts';
import type { OciHook, OciHooks, OciMount } from './spec.ts';

/** A device node as a specification names it; what is absent is read from the host's node. */
export type CdiNode = {
  readonly path: string;
  readonly hostPath: string;
  readonly type: string;
  readonly major?: number;
  readonly minor?: number;
  readonly fileMode?: number;
  readonly uid?: number;
  readonly gid?: number;
  /** Of r, w and m; none: the node is there, and nobody may open it by it. */
  readonly permissions: string;
};

/** `containerEdits` of a specification or of one device of it. */
export type CdiEdits = {
  readonly env: readonly string[];
  readonly nodes: readonly CdiNode[];
  readonly mounts: readonly OciMount[];
  readonly hooks: OciHooks;
  readonly additionalGids: readonly number[];
};

export type CdiSpec = {
  /** `vendor/class`. */
  readonly kind: string;
  readonly edits: CdiEdits;
  readonly devices: ReadonlyMap<string, CdiEdits>;
};

const kindPattern = /^[A-Za-z][A-Za-z0-9_.-]{0,127}\/[A-Za-z][A-Za-z0-9_-]{0,127}$/;
const namePattern = /^[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}$/;
const hookNames = ['prestart', 'createRuntime', 'createContainer', 'startContainer', 'poststart', 'poststop'] as const;
const mostItems = 10_000;

type Json = Readonly<Record<string, unknown>>;

/** What each part may say. Annotations mean nothing to a runtime; intelRdt and netDevices are not here: nothing does them. */
const known = {
  spec: ['cdiVersion', 'kind', 'annotations', 'devices', 'containerEdits'],
  device: ['name', 'annotations', 'containerEdits'],
  edits: ['env', 'deviceNodes', 'hooks', 'mounts', 'additionalGids'],
  deviceNodes: ['path', 'hostPath', 'type', 'major', 'minor', 'fileMode', 'permissions', 'uid', 'gid'],
  mounts: ['hostPath', 'containerPath', 'options', 'type'],
  hooks: ['hookName', 'path', 'args', 'env', 'timeout'],
} as const;

/** True for `vendor/class=name`. */
export function isCdiName(text: string): boolean {
  const [kind = '', name = '', more] = text.split('=');
  return more === undefined && kindPattern.test(kind) && namePattern.test(name);
}

/** The specification that a parsed file holds. @throws Error that says which field is wrong. */
export function parseCdiSpec(value: unknown): CdiSpec {
  const spec = fields(object(value, 'the file'), 'the file', known.spec);
  const version = text(spec.cdiVersion, 'cdiVersion');
  if (!/^v?(0\.[3-9]|1)\.\d+(\.\d+)?$/.test(version)) throw new Error(`cdiVersion ${quote(version)} is not 0.3 to 1.x`);
  const kind = text(spec.kind, 'kind');
  if (!kindPattern.test(kind)) throw new Error(`kind ${quote(kind)} is not vendor/class`);
  const devices = new Map<string, CdiEdits>();
  for (const each of list(spec.devices, 'devices')) {
    const device = fields(object(each, 'devices'), 'devices', known.device);
    const name = text(device.name, 'devices.name');
    if (!namePattern.test(name) || devices.has(name))
      throw new Error(`device name ${quote(name)} is wrong or twice there`);
    devices.set(name, parseEdits(device.containerEdits, `device ${name}`));
  }
  if (devices.size === 0) throw new Error('it has no devices');
  return { kind, edits: parseEdits(spec.containerEdits, 'the specification'), devices };
}

function parseEdits(value: unknown, of: string): CdiEdits {
  const given = value === undefined || value === null ? {} : object(value, `containerEdits of ${of}`);
  const edits = fields(given, `containerEdits of ${of}`, known.edits);
  const at = (name: string) => `${name} of ${of}`;
  const each = (name: 'deviceNodes' | 'mounts' | 'hooks') =>
    list(edits[name], at(name)).map((each) => fields(object(each, at(name)), at(name), known[name]));
  return {
    env: list(edits.env, at('env')).map((each) => environment(each, at('env'))),
    nodes: each('deviceNodes').map((node) => deviceNode(node, at('deviceNodes'))),
    mounts: each('mounts').map((given) => mount(given, at('mounts'))),
    hooks: hooks(each('hooks'), at('hooks')),
    additionalGids: list(edits.additionalGids, at('additionalGids')).map((gid) => count(gid, at('additionalGids'))),
  };
}

function environment(value: unknown, at: string): string {
  const pair = text(value, at);
  if (pair.indexOf('=') < 1) throw new Error(`${at}: ${quote(pair)} is not NAME=value`);
  return pair;
}

function deviceNode(given: Json, at: string): CdiNode {
  const path = absolute(given.path, `${at}.path`);
  const type = given.type === undefined ? '' : text(given.type, `${at}.type`);
  const permissions = given.permissions === undefined ? '' : text(given.permissions, `${at}.permissions`);
  if (!['', 'b', 'c', 'u'].includes(type)) throw new Error(`${at}.type ${quote(type)} is not b, c or u`);
  if (!/^([rwm]*|none)$/.test(permissions))
    throw new Error(`${at}.permissions ${quote(permissions)} is not of r, w and m, nor none`);
  return {
    path,
    hostPath: given.hostPath === undefined ? path : absolute(given.hostPath, `${at}.hostPath`),
    type: type === 'u' ? 'c' : type,
    permissions: permissions === '' ? 'rwm' : permissions === 'none' ? '' : [...new Set(permissions)].join(''),
    ...numbers(given, at, ['major', 'minor', 'fileMode', 'uid', 'gid']),
  };
}

function mount(given: Json, at: string): OciMount {
  const options = list(given.options, `${at}.options`).map((each) => text(each, `${at}.options`));
  const type = given.type === undefined ? 'bind' : text(given.type, `${at}.type`);
  return {
    destination: absolute(given.containerPath, `${at}.containerPath`),
    source: text(given.hostPath, `${at}.hostPath`),
    type: type === '' ? 'bind' : type,
    // Without it runtimes that go by the options alone would look for a file system of that name.
    options: /^(bind|)$/.test(type) && !options.some((each) => /^r?bind$/.test(each)) ? ['bind', ...options] : options,
  };
}

function hooks(given: readonly Json[], at: string): OciHooks {
  const result: { [Name in (typeof hookNames)[number]]?: OciHook[] } = {};
  for (const hook of given) {
    const name = hookNames.find((each) => each === hook.hookName);
    if (!name) throw new Error(`${at}.hookName ${quote(String(hook.hookName))} is not one of ${hookNames.join(', ')}`);
    const texts = (key: 'args' | 'env') => list(hook[key], `${at}.${key}`).map((each) => text(each, `${at}.${key}`));
    const [args, env] = [texts('args'), texts('env')];
    result[name] ??= [];
    result[name].push({
      path: absolute(hook.path, `${at}.path`),
      ...(args.length > 0 ? { args } : {}),
      ...(env.length > 0 ? { env } : {}),
      ...numbers(hook, at, ['timeout']),
    });
  }
  return result;
}

/** Those of the fields that are there. */
function numbers<Name extends string>(given: Json, at: string, names: readonly Name[]): { [P in Name]?: number } {
  const present = names.filter((name) => given[name] !== undefined && given[name] !== null);
  return Object.fromEntries(present.map((name) => [name, count(given[name], `${at}.${name}`)])) as {
    [P in Name]?: number;
  };
}

/**
 * By the names that are known, in whatever case: the library of CDI, which is Go's, reads them so and refuses others. A device
 * without what its driver asks for by a name that nobody understands would fail inside the container.
 */
function fields(given: Json, at: string, names: readonly string[]): Json {
  const present = Object.entries(given).filter(([, value]) => value !== null && value !== undefined);
  const named = present.map(([key, value]) => {
    const name = names.find((each) => each.toLowerCase() === key.toLowerCase());
    if (name === undefined) throw new Error(`${at}: ${quote(key)} is unknown, or nothing that Berth does`);
    return [name, value] as const;
  });
  return Object.fromEntries(named);
}

function object(value: unknown, at: string): Json {
  if (isObject(value)) return value;
  throw new Error(`${at} is not an object`);
}

function list(value: unknown, at: string): readonly unknown[] {
  if (value === undefined || value === null) return [];
  if (Array.isArray(value) && value.length <= mostItems) return value;
  throw new Error(`${at} is not a list of at most ${mostItems}`);
}

/** YAML may take a text for something else (`name: 0`); the library of CDI gives it back as it reads. */
function text(given: unknown, at: string): string {
  const value = typeof given === 'number' || typeof given === 'boolean' ? String(given) : given;
  if (typeof value === 'string' && value.length <= 4096 && !value.includes('\0')) return value;
  throw new Error(`${at} is not a text of at most 4096 characters`);
}

function absolute(value: unknown, at: string): string {
  const path = text(value, at);
  if (path.startsWith('/') && !path.split('/').includes('..')) return path;
  throw new Error(`${at} ${quote(path)} is not an absolute path without ".."`);
}

function count(value: unknown, at: string): number {
  if (Number.isInteger(value) && (value as number) >= 0 && (value as number) < 2 ** 32) return value as number;
  throw new Error(`${at} is not a whole number from 0 to 4294967295`);
}

const quote = (value: string) => JSON.stringify(value.slice(0, 128));
