import { withoutPassword } from '../base/address.ts';
import { Fault } from '../base/fault.ts';
import type { HostFiles } from '../base/host-files.ts';
import { type Endpoint, type EndpointOrigin, endpoint, registryHost } from './hosts.ts';
import { canonical, type Reference, repositoryOf } from './reference.ts';
import { type ConfFile, cannotUse, flagOf, readConf, type Table, tablesOf, textOf } from './registries-file.ts';

/** Those of a host, as an endpoint's table, and the folder that they are in. */
type Certificates = (host: string) => Promise<{ readonly table: Table; readonly folder: string }>;
type Sources = { readonly files: HostFiles; readonly certificates: Certificates };

type Registry = { readonly prefix: string; readonly table: Table; readonly file: string };

/**
 * The places for a reference by a registries.conf (containers-registries.conf(5), version 2) and the *.conf files of its .d
 * folder: of the registries whose prefix it has, the longest. Null if it has none's. Read anew at each call: a file that is not
 * there may have forbidden registries, and is an error.
 * @throws Fault FailedPrecondition that names the file; PermissionDenied for a registry that is blocked.
 */
export async function placesByConf(
  path: string,
  reference: Reference,
  files: HostFiles,
  certificates: Certificates,
): Promise<Endpoint[] | null> {
  const known = new Map<string, Registry>();
  for (const file of await readConf(path, files)) for (const each of registriesOf(file)) known.set(each.prefix, each);
  const [best] = [...known.values()]
    .filter(({ prefix }) => hasPrefix(reference, prefix))
    .sort((a, b) => b.prefix.length - a.prefix.length);
  return best ? placesOf(best, reference, { files, certificates }) : null;
}

/**
 * Those of one file, by prefix, each checked whether or not it is what is asked for: one that can mean nothing may have been there to
 * forbid something. Of two with a prefix the first counts, as with CRI-O, if they agree on what they forbid and allow.
 */
function registriesOf({ file, table }: ConfFile): Registry[] {
  try {
    const found = new Map<string, Registry>();
    for (const each of tablesOf(table.registry, 'registry')) {
      const prefix = checkedPrefix(each);
      const first = found.get(prefix);
      for (const flag of ['blocked', 'insecure'])
        if (first && flagOf(first.table, flag) !== flagOf(each, flag))
          throw new Error(`${JSON.stringify(prefix)} is there twice, and ${flag} in one of them only`);
      if (!first) found.set(prefix, { prefix, table: each, file });
    }
    return [...found.values()];
  } catch (error) {
    throw cannotUse(file, error);
  }
}

function checkedPrefix(table: Table): string {
  checkLocation(table, 'location');
  checkLocation(table, 'prefix');
  const prefix = textOf(table, 'prefix') || textOf(table, 'location');
  if (prefix === '') throw new Error('a registry has neither prefix nor location');
  if (prefix.includes('*') && !/^\*(\.[a-z0-9-]+)+$/i.test(prefix))
    throw new Error(`prefix = ${JSON.stringify(prefix)} is not *.HOST, without a port or a path`);
  const onlyByDigest = flagOf(table, 'mirror-by-digest-only');
  for (const mirror of tablesOf(table.mirror, 'registry.mirror')) {
    if (checkLocation(mirror, 'location') === '') throw new Error('a mirror has no location');
    if (onlyByDigest && usageOf(mirror) !== '')
      throw new Error(
        `${prefix} has mirror-by-digest-only, and a mirror of it pull-from-mirror: leave one of them out`,
      );
    flagOf(mirror, 'insecure');
  }
  return prefix;
}

function checkLocation(table: Table, key: string): string {
  const location = textOf(table, key);
  if (!/^[a-z]+:\/\//i.test(location)) return location;
  throw new Error(`${key} = ${JSON.stringify(withoutPassword(location))} is a host, and a path`);
}

/** What is said of when a mirror may be asked; empty: nothing. */
function usageOf(mirror: Table): string {
  const said = textOf(mirror, 'pull-from-mirror');
  if (['', 'all', 'digest-only', 'tag-only'].includes(said)) return said;
  throw new Error(`pull-from-mirror = ${JSON.stringify(said)} is none of all, digest-only, tag-only`);
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

async function placesOf(registry: Registry, reference: Reference, sources: Sources): Promise<Endpoint[]> {
  const { table, file, prefix } = registry;
  try {
    if (flagOf(table, 'blocked'))
      throw new Fault('PermissionDenied', `${file} blocks ${prefix}: ${canonical(reference)} is not pulled`);
    const onlyByDigest = flagOf(table, 'mirror-by-digest-only');
    const mirrors = tablesOf(table.mirror, 'registry.mirror').filter((mirror) =>
      isFor(mirror, onlyByDigest, reference),
    );
    const at = (each: Table, isOwner: boolean) => place(each, registry, reference, isOwner, sources);
    return await Promise.all([...mirrors.map((mirror) => at(mirror, false)), at(table, true)]);
  } catch (error) {
    throw error instanceof Fault ? error : cannotUse(file, error);
  }
}

/** Whether a mirror may be asked for what has a digest, or for what has none. */
function isFor(mirror: Table, onlyByDigest: boolean, { digest }: Reference): boolean {
  const said = usageOf(mirror) || (onlyByDigest ? 'digest-only' : 'all');
  return said === 'all' || (said === 'digest-only') === (digest !== null);
}

/** One place: the reference with its prefix exchanged for the location, where there is one. */
async function place(
  table: Table,
  { prefix, file }: Registry,
  reference: Reference,
  isOwner: boolean,
  { files, certificates }: Sources,
): Promise<Endpoint> {
  const name = repositoryOf(reference);
  const location = textOf(table, 'location');
  const shown = JSON.stringify(withoutPassword(location));
  const rest = prefix.startsWith('*.') || prefix.length > name.length ? '' : name.slice(prefix.length);
  const there =
    location === '' ? name : prefix.startsWith('*.') ? location + name.slice(name.indexOf('/')) : location + rest;
  const slash = there.indexOf('/');
  if (slash <= 0) throw new Error(`location = ${shown} leaves nothing of ${name}`);
  const host = there.slice(0, slash);
  const { table: own, folder } = await certificates(host);
  const origin: EndpointOrigin = { folder, source: null, isOwner, files };
  const made = await endpoint(`https://${registryHost(host)}`, own, origin);
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
