import { BlockList, isIP } from 'node:net';
import { withoutBrackets, withoutPassword } from '../base/address.ts';
import { Fault } from '../base/fault.ts';
import { isLoopback } from './hosts.ts';

export type Environment = Readonly<Record<string, string | undefined>>;

const schemes = ['http:', 'https:'];

/** The environment's value under a name in capitals, else in small letters: Go's order. */
const variable = (env: Environment, name: string): string => env[name] || env[name.toLowerCase()] || '';

/** What the environment says about proxies for an address; empty: nothing. */
export function proxySettings(url: URL, env: Environment): { name: string; value: string; exceptions: string } {
  const name = url.protocol === 'https:' ? 'HTTPS_PROXY' : 'HTTP_PROXY';
  return { name, value: variable(env, name), exceptions: variable(env, 'NO_PROXY') };
}

/**
 * The proxy for an address as Go programs choose it (golang.org/x/net/http/httpproxy): HTTPS_PROXY or HTTP_PROXY by the
 * address's scheme, unless NO_PROXY has the host; never for this host itself. A value without a scheme is one of http.
 * @throws Fault FailedPrecondition for a value that is no proxy's address: passed over, it would hide why nothing works.
 */
export function proxyFor(url: URL, env: Environment): URL | null {
  const { name, value, exceptions } = proxySettings(url, env);
  if (value === '' || isExcepted(url, exceptions)) return null;
  const proxy = parsed(value);
  if (proxy) return proxy;
  throw new Fault(
    'FailedPrecondition',
    `${name} of Berth's environment is ${JSON.stringify(withoutPassword(value))}: give http://HOST:PORT or https://HOST:PORT`,
  );
}

function parsed(value: string): URL | null {
  for (const text of [value, `http://${value}`]) {
    const url = URL.parse(text);
    if (url && schemes.includes(url.protocol) && url.hostname !== '') return url;
    if (/^[a-z0-9+.-]+:\/\//i.test(value)) return null; // it has a scheme, of a proxy that is not spoken here
  }
  return null;
}

/** Whether NO_PROXY has a host: `*`, addresses, CIDRs, domains with what is below them, `.domain` for that alone; all but CIDRs with a port. */
function isExcepted(url: URL, list: string): boolean {
  const host = withoutBrackets(url.hostname).toLowerCase();
  const port = url.port || (url.protocol === 'https:' ? '443' : '80');
  if (isLoopback(url.hostname)) return true;
  const items = list.split(',').map((item) => item.trim().toLowerCase());
  return items.some((item) => item === '*' || matches(item, host, port));
}

function matches(item: string, host: string, port: string): boolean {
  if (item === '') return false;
  const family = isIP(host);
  const [, network = '', bits = ''] = /^(.*)\/(\d{1,3})$/.exec(item) ?? [];
  if (network !== '') return family !== 0 && isIP(network) === family && inNetwork(host, network, Number(bits), family);
  const { name, port: wanted } = splitPort(item);
  if (wanted !== '' && wanted !== port) return false;
  if (family !== 0) return sameAddress(name, host, family);
  if (name.startsWith('*.') || name.startsWith('.')) return host.endsWith(name.replace(/^\*/, ''));
  return host === name || host.endsWith(`.${name}`);
}

function splitPort(item: string): { name: string; port: string } {
  const [, bracketed, after = ''] = /^\[([^\]]*)\](?::(\d+))?$/.exec(item) ?? [];
  if (bracketed !== undefined) return { name: bracketed, port: after };
  if (isIP(item)) return { name: item, port: '' };
  const [, name = item, port = ''] = /^(.*):(\d+)$/.exec(item) ?? [];
  return { name, port };
}

function inNetwork(host: string, network: string, bits: number, family: number): boolean {
  if (bits > (family === 6 ? 128 : 32)) return false;
  const kind = family === 6 ? 'ipv6' : 'ipv4';
  const block = new BlockList();
  block.addSubnet(network, bits, kind);
  return block.check(host, kind);
}

const sameAddress = (one: string, host: string, family: number): boolean =>
  isIP(one) === family && inNetwork(host, one, family === 6 ? 128 : 32, family);
