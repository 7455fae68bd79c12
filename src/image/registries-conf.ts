import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { parse } from 'smol-toml';
import { Fault, isErrno, messageOf } from '../base/fault.ts';
import { isObject } from '../base/json.ts';
import { readText } from '../sys/read-file.ts';
import { type Endpoint, type EndpointOrigin, endpoint, registryHost } from './hosts.ts';
import { canonical, type Reference, repositoryOf } from './reference.ts';

const maxFileBytes = 1024 * 1024;

type Table = Record<string, unknown>;
type Registry = { readonly prefix: string; readonly table: Table; readonly file: string };

/**
 * The places for a reference by a registries.conf (containers-registries.conf(5), version 2) and the *.conf files of its .d
 * folder: of the registries whose prefix it has, the longest. Null if it has none's. Read anew at each call: a file that is not
 * there may have forbidden registries, and is an error.
 * @throws Fault FailedPrecondition that names the file; PermissionDenied for a registry that is blocked.
 */
export async function placesByConf(path: string, reference: Reference): Promise<Endpoint[] | null> {
  const files = [path, ...(await dropIns(`${path}.d`))];
  const known = new Map<string, Registry>();
  for (const file of files) for (const each of await registriesOf(file)) known.set(each.prefix, each);
  const [best] = [...known.values()]
    .filter(({ prefix }) => hasPrefix(reference, prefix))
    .sort((a, b) => b.prefix.length - a.prefix.length);
  return best ? placesOf(best, reference) : null;
}

async function dropIns(folder: string): Promise<string[]> {
  const names = await readdir(folder).catch((error) => {
    if (isErrno(error, 'ENOENT')) return [];
    throw error;
  });
  return names
    .filter((name) => name.endsWith('.conf'))
    .sort()
    .map((name) => join(folder, name));
}

const cannotUse = (file: string, error: unknown) =>
  new Fault('FailedPrecondition', `Cannot use ${file} (images.registries_conf): ${messageOf(error)}`, { cause: error });

async function registriesOf(file: string): Promise<Registry[]> {
  try {
    const table: Table = parse(await readText(file, maxFileBytes));
    if (table.registries !== undefined) throw new Error('it is in version 1 of the format: write [[registry]]');
    return tablesOf(table.registry, 'registry').map((each) => ({
      prefix: textOf(each, 'prefix') || textOf(each, 'location'),
      table: each,
      file,
    }));
  } catch (error) {
    throw cannotUse(file, error);
  }
}

function tablesOf(value: unknown, what: string): Table[] {
  if (value === undefined) return [];
  if (!Array.isArray(value) || !value.every(isObject)) throw new Error(`${what} is no list of tables: [[${what}]]`);
  return value;
}

function textOf(table: Table, key: string): string {
  const value = table[key] ?? '';
  if (typeof value !== 'string') throw new Error(`${key} is no text`);
  return value.replace(/\/+$/, '');
}

function flagOf(table: Table, key: string): boolean {
  const value = table[key] ?? false;
  if (typeof value !== 'boolean') throw new Error(`${key} is neither true nor false`);
  return value;
}

/** `*.example.com` is any host below that; others end where a part of the reference does. */
function hasPrefix(reference: Reference, prefix: string): boolean {
  if (prefix === '') return false;
  if (prefix.startsWith('*.')) return reference.domain.replace(/:\d+$/, '').endsWith(prefix.slice(1));
  const whole =
    reference.tag && reference.digest ? `${repositoryOf(reference)}:${reference.tag}` : canonical(reference);
  return [whole, canonical(reference)].some(
    (name) => name.startsWith(prefix) && ['', '/', ':', '@'].includes(name.charAt(prefix.length)),
  );
}

async function placesOf(registry: Registry, reference: Reference): Promise<Endpoint[]> {
  const { table, file, prefix } = registry;
  try {
    if (flagOf(table, 'blocked'))
      throw new Fault('PermissionDenied', `${file} blocks ${prefix}: ${canonical(reference)} is not pulled`);
    const onlyByDigest = flagOf(table, 'mirror-by-digest-only');
    const mirrors = tablesOf(table.mirror, 'registry.mirror').filter((mirror) =>
      isFor(mirror, onlyByDigest, reference),
    );
    const places = mirrors.map((mirror) => place(mirror, registry, reference, false));
    return await Promise.all([...places, place(table, registry, reference, true)]);
  } catch (error) {
    throw error instanceof Fault ? error : cannotUse(file, error);
  }
}

/** Whether a mirror may be asked for what has a digest, or for what has none. */
function isFor(mirror: Table, onlyByDigest: boolean, { digest }: Reference): boolean {
  const said = textOf(mirror, 'pull-from-mirror') || (onlyByDigest ? 'digest-only' : 'all');
  if (said === 'all') return true;
  if (said !== 'digest-only' && said !== 'tag-only')
    throw new Error(`pull-from-mirror = ${JSON.stringify(said)} is none of all, digest-only, tag-only`);
  return (said === 'digest-only') === (digest !== null);
}

/** One place: the reference with its prefix exchanged for the location, where there is one. */
async function place(
  table: Table,
  { prefix, file }: Registry,
  reference: Reference,
  isOwner: boolean,
): Promise<Endpoint> {
  const name = repositoryOf(reference);
  const location = textOf(table, 'location');
  if (location === '' && !isOwner) throw new Error('a mirror has no location');
  if (/^[a-z]+:\/\//.test(location)) throw new Error(`location = ${JSON.stringify(location)} is a host, and a path`);
  const rest = prefix.startsWith('*.') || prefix.length > name.length ? '' : name.slice(prefix.length);
  const there =
    location === '' ? name : prefix.startsWith('*.') ? location + name.slice(name.indexOf('/')) : location + rest;
  const slash = there.indexOf('/');
  if (slash <= 0) throw new Error(`location = ${JSON.stringify(location)} leaves nothing of ${name}`);
  const origin: EndpointOrigin = { folder: file, source: null, isOwner };
  const made = await endpoint(`https://${registryHost(there.slice(0, slash))}`, {}, origin);
  const isInsecure = flagOf(table, 'insecure');
  const base = new URL(made.base);
  if (isInsecure) base.protocol = 'http:';
  return {
    ...made,
    base,
    source: file,
    repository: there.slice(slash + 1),
    isEitherScheme: isInsecure,
    takesCredentials: isOwner || !isInsecure,
    tls: { ...made.tls, skipVerify: isInsecure },
  };
}
