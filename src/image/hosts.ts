import { X509Certificate } from 'node:crypto';
import { validateHeaderName, validateHeaderValue } from 'node:http';
import { join, normalize, resolve } from 'node:path';
import { createSecureContext } from 'node:tls';
import { withoutPassword } from '../base/address.ts';
import { Fault, invalidArgument, isErrno, isFault, messageOf } from '../base/fault.ts';
import { type HostFiles, isNoAnswer } from '../base/host-files.ts';
import { isObject } from '../base/json.ts';
import { didYouMean } from '../base/nearest.ts';
import { tomlOf } from '../base/parse.ts';
import { ownFiles } from '../sys/own-files.ts';

export type Capability = 'pull' | 'resolve' | 'push';

/** One place that serves an image's registry: the registry itself, or a mirror of it. */
export type Endpoint = {
  /** Ends without a slash; `/v2` included unless the path is overridden. */
  readonly base: URL;
  /** What the repository is called there. Absent: as the reference names it. */
  readonly repository?: string;
  /** True for the registry that the reference names. */
  readonly isOwner: boolean;
  /** False for a mirror that a pull's credentials are not shown to. */
  readonly takesCredentials: boolean;
  /** The file that says so, or null: by the registry's name alone. */
  readonly source: string | null;
  /** True on this host where nobody said which: plain http, or https with any certificate. */
  readonly isEitherScheme: boolean;
  readonly capabilities: ReadonlySet<Capability>;
  readonly headers: Readonly<Record<string, string | string[]>>;
  readonly dialTimeoutMs: number;
  /** What in the file means nothing: a misspelt key must not be silent. */
  readonly remarks: readonly string[];
  readonly tls: {
    /** PEM texts; none: the system's own. */
    readonly ca: readonly string[];
    readonly client: readonly { cert: string; key: string }[];
    readonly skipVerify: boolean;
  };
};

export const defaultDialMs = 30_000;
/** A day: no kernel tries for so long, and a timer takes no more than 24. */
const longestDialMs = 24 * 3_600_000;
const everything: readonly Capability[] = ['pull', 'resolve', 'push'];
/** Others that containerd knows, of things that Berth does not ask for. */
const neverAsked: readonly string[] = ['referrers'];
const maxFileBytes = 1024 * 1024;
/** More is no folder of certificates. */
const mostNames = 1000;

/** True for names and addresses that never leave this host. */
export const isLoopback = (hostname: string): boolean =>
  hostname === 'localhost' ||
  hostname.endsWith('.localhost') ||
  /^127(?:\.\d{1,3}){3}$/.test(hostname) ||
  hostname === '[::1]' ||
  hostname === '::1';

/** Where a registry's name leads without hosts.toml. */
export const registryHost = (domain: string): string => (domain === 'docker.io' ? 'registry-1.docker.io' : domain);

/** Whether the registry `domain` is at a host of another name, as an operator says. */
export const isElsewhere = ({ isOwner, base }: Endpoint, domain: string): boolean =>
  isOwner && base.host !== new URL(`https://${registryHost(domain)}`).host;

/** The same where registries.conf gives its images other names there: it is shown what a mirror would be. */
export const isRenamed = (endpoint: Endpoint, domain: string): boolean =>
  endpoint.repository !== undefined && isElsewhere(endpoint, domain);

/** The registry's own address. Plain http for this host alone, unless hosts.toml says otherwise. */
function ownAddress(domain: string): string {
  const host = registryHost(domain);
  const { hostname, port } = new URL(`https://${host}`);
  return `${isLoopback(hostname) && port !== '' ? 'http' : 'https'}://${host}`;
}

/**
 * The places to ask for images of `domain`, in order: mirrors as `certs.d` lists them, then the registry. Read anew at
 * each call. `certsDirs`: such folders, separated by colons; the first that says something counts alone. Names in it are
 * tried as containerd does: `<host>_<port>_`, `<host>:<port>`, `_default`.
 * @throws Fault InvalidArgument that names the file.
 */
export async function endpointsFor(domain: string, certsDirs: string): Promise<Endpoint[]> {
  const said = await saidOf(domain, certsDirs, ownFiles());
  return said === null ? ownEndpoint(domain) : said.endpoints;
}

/** What folders of certsDirs say of a registry; `places`: also who serves it, and not only by which certificates. */
export type Said = { readonly endpoints: Endpoint[]; readonly places: boolean };

/** Null if nothing is said of the registry. @throws as endpointsFor does. */
export async function saidOf(domain: string, certsDirs: string, files: HostFiles): Promise<Said | null> {
  for (const folder of foldersOf(certsDirs, [...namesOf(domain), '_default'])) {
    const text = await readOptional(join(folder, 'hosts.toml'), files);
    if (text !== null) return { endpoints: await parseHosts(text, { folder, domain, files }), places: true };
    const certificates = await looseCertificates(folder, files);
    if (certificates === null) continue;
    const origin = { folder, source: folder, isOwner: true, files };
    return { endpoints: [bySomeScheme(await endpoint(ownAddress(domain), certificates, origin))], places: false };
  }
  return null;
}

const namesOf = (host: string): string[] => [...new Set([host.replace(/:([0-9]+)$/, '_$1_'), host])];

const foldersOf = (certsDirs: string, names: readonly string[]): string[] =>
  certsDirs.split(':').flatMap((top) => names.map((name) => join(top, name)));

/** The certificates that lie in a folder of this host's name, as the table of an endpoint, and where they are. */
export async function certificatesOf(
  host: string,
  certsDirs: string,
  files: HostFiles,
): Promise<{ readonly table: Table; readonly folder: string }> {
  for (const folder of foldersOf(certsDirs, namesOf(host))) {
    const table = await looseCertificates(folder, files);
    if (table !== null) return { table, folder };
  }
  return { table: {}, folder: '/' };
}

/** The registry itself, of which nothing is said. */
export async function ownEndpoint(domain: string): Promise<Endpoint[]> {
  return [
    bySomeScheme(await endpoint(ownAddress(domain), {}, { folder: '/', source: null, isOwner: true, files: null })),
  ];
}

/** A registry by its own name: on this host, by either scheme, and with any certificate unless authorities are given. */
function bySomeScheme(own: Endpoint): Endpoint {
  if (own.base.protocol !== 'http:') return own;
  return {
    ...own,
    isEitherScheme: true,
    tls: { ...own.tls, skipVerify: own.tls.skipVerify || own.tls.ca.length === 0 },
  };
}

type Table = Record<string, unknown>;

/** What an endpoint is described by, at the top of the file for the server and in a table of [host] for each mirror. */
const endpointKeys = ['capabilities', 'ca', 'client', 'skip_verify', 'header', 'override_path', 'dial_timeout'];
const mirrorKeys = [...endpointKeys, 'credentials'];
const serverKeys = ['server', 'host', ...endpointKeys];

const remarksOn = (table: Table, known: readonly string[], file: string): string[] =>
  Object.keys(table)
    .filter((key) => !known.includes(key))
    .map(
      (key) => `${file} has the key ${JSON.stringify(key.slice(0, 64))}, which means nothing${didYouMean(key, known)}`,
    );

type Hosts = { readonly folder: string; readonly domain: string; readonly files: HostFiles };

async function parseHosts(text: string, { folder, domain, files }: Hosts): Promise<Endpoint[]> {
  const file = join(folder, 'hosts.toml');
  try {
    const table: Table = tomlOf(text);
    const mirrors = isObject(table.host) ? Object.entries(table.host) : [];
    const result: Endpoint[] = [];
    for (const [address, options] of mirrors) {
      if (!isObject(options)) throw new Error(`host.${JSON.stringify(withoutPassword(address))} is not a table`);
      result.push(await endpoint(address, options, { folder, source: file, isOwner: false, files }));
    }
    const { server = '' } = table;
    if (typeof server !== 'string') throw new Error('server is no text');
    // The server's own options stand at the top of the file.
    const made = await endpoint(server || ownAddress(domain), table, { folder, source: file, isOwner: true, files });
    return [...result, server === '' ? bySomeScheme(made) : made];
  } catch (error) {
    if (isNoAnswer(error)) throw error; // of who reads certificates
    throw new Fault('InvalidArgument', `Cannot use ${file}: ${messageOf(error)}`, { cause: error });
  }
}

export type EndpointOrigin = {
  readonly folder: string;
  readonly source: string | null;
  readonly isOwner: boolean;
  /** Who reads its certificates; null: it has none. */
  readonly files: HostFiles | null;
};

/** A place by its address and what a file says of it. @throws Error */
export async function endpoint(
  address: string,
  options: Table,
  { folder, source, isOwner, files }: EndpointOrigin,
): Promise<Endpoint> {
  const base = urlOf(address);
  if (base.username || base.password) throw new Error(`credentials do not belong in ${base.host}'s address`);
  const path = normalize(base.pathname).replace(/\/$/, '');
  base.pathname = flag(options, 'override_path') || path.endsWith('/v2') ? path : `${path}/v2`;
  base.search = base.hash = '';
  return {
    base,
    isOwner,
    takesCredentials: isOwner || mirrorTakesCredentials(base, options),
    source,
    isEitherScheme: false,
    capabilities: new Set(capabilitiesOf(options.capabilities)),
    headers: headersOf(options.header),
    remarks: source === null ? [] : remarksOn(options, isOwner ? serverKeys : mirrorKeys, source),
    dialTimeoutMs: duration(options.dial_timeout ?? ''),
    tls: {
      ca: await Promise.all(paths(options.ca, 'ca').map((path) => readAuthority(readPem(folder, path, files), path))),
      client: await Promise.all(
        clientPairs(options.client).map((pair) => readClient(pair, (path) => readPem(folder, path, files))),
      ),
      skipVerify: flag(options, 'skip_verify'),
    },
  };
}

function flag(options: Table, key: string): boolean {
  const value = options[key] ?? false;
  if (typeof value !== 'boolean') throw new Error(`${key} is neither true nor false`);
  return value;
}

function urlOf(address: string): URL {
  const shown = JSON.stringify(withoutPassword(address));
  const hasScheme = /^[a-z]+:\/\//.test(address);
  if (!URL.canParse(hasScheme ? address : `https://${address}`))
    throw new Error(`${shown} is no address of a registry`);
  const url = new URL(hasScheme ? address : ownAddress(address));
  if (url.protocol !== 'http:' && url.protocol !== 'https:') throw new Error(`${shown} is neither http nor https`);
  return url;
}

/**
 * A mirror that the operator names gets what a pull brings, as with containerd; but unless he says so, not where anybody on the
 * way could read it.
 */
function mirrorTakesCredentials({ protocol, hostname }: URL, { credentials, skip_verify }: Table): boolean {
  if (credentials === undefined) return isLoopback(hostname) || (protocol === 'https:' && skip_verify !== true);
  if (typeof credentials !== 'boolean') throw new Error('credentials is neither true nor false');
  return credentials;
}

function capabilitiesOf(value: unknown): readonly Capability[] {
  if (value === undefined) return everything;
  if (!Array.isArray(value)) throw new Error('capabilities is not a list');
  if (value.length === 0) return everything; // as containerd reads it
  return value.flatMap((name) => {
    const asWritten = String(name).toLowerCase();
    const known = everything.find((item) => item === asWritten);
    if (neverAsked.includes(asWritten)) return [];
    if (!known) throw new Error(`capability ${JSON.stringify(name)} is not one of ${everything.join(', ')}`);
    return known;
  });
}

function headersOf(value: unknown): Record<string, string | string[]> {
  if (value === undefined) return {};
  if (!isObject(value)) throw new Error('header is not a table');
  return Object.fromEntries(
    Object.entries(value).map(([name, item]) => {
      const values: unknown[] = Array.isArray(item) ? item : [item];
      if (!values.every((each) => typeof each === 'string'))
        throw new Error(`header ${JSON.stringify(name)} is neither a string nor a list of strings`);
      checkHeader(name, values);
      return [name, item as string | string[]];
    }),
  );
}

/** Not its value: it may be a secret. */
function checkHeader(name: string, values: readonly string[]): void {
  try {
    validateHeaderName(name);
    for (const value of values) validateHeaderValue(name, value);
  } catch (error) {
    throw new Error(`header ${JSON.stringify(name)} has a character that no header may have`, { cause: error });
  }
}

const unitMs: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
};

/** A duration as Go reads them: `3s`, `1m30s`, `.5s`. Nothing, and 0, which means none to it, is what is usual. */
function duration(value: unknown): number {
  const text = typeof value === 'string' ? value.replace(/^\+/, '') : null;
  if (text === '' || text === '0') return defaultDialMs;
  const parts = [...(text ?? '').matchAll(/((?:[0-9]+\.?[0-9]*)|(?:\.[0-9]+))(ns|us|µs|ms|s|m|h)/g)];
  const whole = parts.map(([part]) => part).join('');
  const ms = parts.reduce((sum, [, amount, unit]) => sum + Number(amount) * unitMs[unit ?? '']!, 0);
  if (whole === text && ms === 0) return defaultDialMs;
  if (whole !== text || !(ms >= 1))
    throw new Error(`dial_timeout ${JSON.stringify(value)} is not a duration such as "3s"`);
  return Math.min(ms, longestDialMs);
}

function paths(value: unknown, what: string): string[] {
  if (value === undefined) return [];
  const list = Array.isArray(value) ? value : [value];
  if (!list.every((item) => typeof item === 'string')) throw new Error(`${what} is neither a path nor a list of paths`);
  return list;
}

type ClientPair = readonly [cert: string, key: string];

/** `client` is a file with both parts, a list of such files, or a list of [certificate, key]. */
function clientPairs(value: unknown): ClientPair[] {
  if (value === undefined) return [];
  const list: unknown[] = Array.isArray(value) ? value : [value];
  return list.map((item) => {
    if (typeof item === 'string') return [item, item];
    const [cert, key, ...more] = paths(item, 'client');
    if (cert === undefined || more.length > 0) throw new Error('client is not a list of [certificate, key]');
    return [cert, key || cert];
  });
}

const readPem = (folder: string, path: string, files: HostFiles | null): Promise<string> =>
  readBounded(resolve(folder, path), files ?? ownFiles());

/** TLS passes over what is no certificate in silence, and then trusts nobody who should be trusted. */
async function readAuthority(read: Promise<string>, path: string): Promise<string> {
  const pem = await read;
  try {
    void new X509Certificate(pem); // of several the first
    return pem;
  } catch (error) {
    throw new Error(`ca ${JSON.stringify(path)} has no certificate in PEM: ${messageOf(error)}`, { cause: error });
  }
}

type Read = (path: string) => Promise<string>;

async function readClient([cert, key]: ClientPair, read: Read): Promise<{ cert: string; key: string }> {
  const pair = { cert: await read(cert), key: await read(key) };
  try {
    createSecureContext(pair);
    return pair;
  } catch (error) {
    const what = `client ${JSON.stringify(cert)}${cert === key ? '' : ` with ${JSON.stringify(key)}`}`;
    throw new Error(`${what} is no certificate with its key, in PEM: ${messageOf(error)}`, { cause: error });
  }
}

/** Docker's older layout, without hosts.toml: `*.crt` are authorities, `*.cert` with `*.key` are client pairs. */
async function looseCertificates(folder: string, files: HostFiles): Promise<Table | null> {
  const names = ((await files.list(folder, mostNames)) ?? []).map(([name]) => name);
  const ca = names.filter((name) => name.endsWith('.crt'));
  const client = names.filter((name) => name.endsWith('.cert')).map((name) => [name, name.replace(/cert$/, 'key')]);
  return ca.length + client.length > 0 ? { ca, client } : null;
}

async function readBounded(path: string, files: HostFiles): Promise<string> {
  try {
    return await files.readText(path, maxFileBytes);
  } catch (error) {
    throw isFault(error, 'ResourceExhausted', 'FailedPrecondition') ? invalidArgument(error.message) : error;
  }
}

async function readOptional(path: string, files: HostFiles): Promise<string | null> {
  try {
    return await readBounded(path, files);
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR')) return null;
    throw error;
  }
}
