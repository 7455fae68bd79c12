import { withoutPassword } from '../base/address.ts';
import { visible } from '../base/text.ts';
import {
  canonical,
  type Endpoint,
  type Environment,
  isLoopback,
  isRenamed,
  placesFor,
  proxyFor,
  proxySettings,
  type Reference,
  ShortNames,
  type WhereSettings,
} from '../image/index.ts';
import { tell } from './tell.ts';

/** `berth explain REF`: the hosts that a pull would ask, in order, and what each would be shown. Asks none of them. */
export async function explainReference(where: WhereSettings, text: string): Promise<void> {
  tell(visible(await explanation(where, text), 'lines'));
}

/** Exported for its test. */
export async function explanation(where: WhereSettings, text: string): Promise<string> {
  const names = new ShortNames(where.registriesConf);
  await names.read(where.hostFiles);
  const parts = await Promise.all(names.meanings(text).map((reference) => explained(reference, where)));
  return parts.join('');
}

async function explained(reference: Reference, where: WhereSettings): Promise<string> {
  const endpoints = await placesFor(reference, where);
  const parts = endpoints.map((endpoint, index) => explainEndpoint(endpoint, index, reference.domain, process.env));
  return `${canonical(reference)}\n${parts.join('')}`;
}

/** Exported for its test. */
export function explainEndpoint(endpoint: Endpoint, index: number, domain: string, env: Environment): string {
  const { base, capabilities, source } = endpoint;
  const facts = {
    'named by': source ?? `the registry's name: there is no hosts.toml for ${domain}`,
    ...(endpoint.repository === undefined ? {} : { 'name there': endpoint.repository }),
    'asked for': askedFor(capabilities),
    credentials: credentials(endpoint, domain),
    connection: connection(endpoint),
    ...(Object.keys(endpoint.headers).length > 0
      ? { headers: `${Object.keys(endpoint.headers).join(', ')} (values are not shown)` }
      : {}),
    proxy: proxyText(base, env),
    ...(endpoint.remarks.length > 0 ? { 'look at': endpoint.remarks.join('; ') } : {}),
  };
  const lines = Object.entries(facts).map(([key, value]) => `     ${`${key}:`.padEnd(13)}${value}\n`);
  return `  ${index + 1}. ${base.href}\n${lines.join('')}`;
}

function askedFor(capabilities: Endpoint['capabilities']): string {
  const resolve = capabilities.has('resolve');
  const pull = capabilities.has('pull');
  if (resolve && pull) return 'what a tag means, manifests and layers';
  if (pull) return 'manifests and layers by digest; not what a tag means (no "resolve" capability)';
  return resolve ? 'what a tag means; not layers (no "pull" capability)' : 'nothing: it has neither capability';
}

function credentials(endpoint: Endpoint, domain: string): string {
  const { isOwner, takesCredentials, base } = endpoint;
  if (!isOwner && takesCredentials)
    return `those that the node's file (images.auth_file) has for ${base.host}, else those of the pull request, if it asks for some and they name no other registry; also shown to its token service at ${base.origin}, to no other; else anonymous`;
  if (!isOwner)
    return `none: a pull's credentials are for ${domain} alone, and this is a mirror (plain http, skip_verify or credentials = false in hosts.toml)`;
  const where = base.protocol === 'https:' ? 'its token service, if that is https' : 'its token service';
  if (isRenamed(endpoint, domain))
    return `those of the pull request, if they name no other registry, else those that the node's file (images.auth_file) has for ${base.host}; also shown to ${where}; else anonymous`;
  return `those of the pull request, if it has any for ${domain}, else the node's (images.auth_file); also shown to ${where}; else anonymous`;
}

function connection(endpoint: Endpoint): string {
  const { base, tls, dialTimeoutMs } = endpoint;
  const dial = `${dialTimeoutMs / 1000} s to connect`;
  if (endpoint.isEitherScheme)
    return `plain http, or https with ${tls.skipVerify ? 'any certificate' : `a certificate of ${tls.ca.length} CA file(s)`}: ${isLoopback(base.hostname) ? 'it is on this host' : 'insecure = true'}; ${dial}`;
  if (base.protocol === 'http:') {
    return `plain http, ${isLoopback(base.hostname) ? 'on this host' : 'because hosts.toml says so'}; ${dial}`;
  }
  const verified = tls.skipVerify
    ? 'certificate NOT verified (skip_verify)'
    : `verified by the host's CAs${tls.ca.length > 0 ? ` and ${tls.ca.length} CA file(s)` : ''}`;
  return `https, ${verified}${tls.client.length > 0 ? ', with a client certificate' : ''}; ${dial}`;
}

function proxyText(base: URL, env: Environment): string {
  if (isLoopback(base.hostname)) return 'none: it is on this host';
  const proxy = proxyFor(base, env);
  if (proxy) return withoutPassword(proxy.href);
  const { name, value, exceptions } = proxySettings(base, env);
  return value === '' ? `none: ${name} is not set here` : `none: NO_PROXY (${exceptions}) has it`;
}
