import { isIP } from 'node:net';

/** A host as an address has it, without the brackets that a URL puts around IPv6. */
export const withoutBrackets = (host: string): string => host.replace(/^\[|\]$/g, '');

export type Address = { readonly host: string; readonly port: number };

/** `127.0.0.1:0`, `[::1]:10010`: an IP address and a port, 0 for any. Null for anything else. */
export function parseAddress(text: string): Address | null {
  const [, v6, v4, port = ''] = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text) ?? [];
  const right = v6 === undefined ? isIP(v4 ?? '') === 4 : isIP(v6) === 6;
  if (!right || Number(port) > 65_535) return null;
  return { host: (v6 ?? v4)!, port: Number(port) };
}

/**
 * An address with what stands before an @ left out: it may be a password. One with characters that no address may have makes
 * the whole no address: then all counts as one that stands before the last @.
 */
export function withoutPassword(address: string): string {
  const [scheme = ''] = /^[a-z0-9+.-]+:\/\//i.exec(address) ?? [];
  const url = URL.parse(scheme === '' ? `http://${address}` : address);
  if (url && url.username === '' && url.password === '') return address;
  return `${scheme}${address.slice(scheme.length).replace(/^.*@/s, '***@')}`;
}
