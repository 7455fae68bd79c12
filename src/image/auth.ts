import { isUtf8 } from 'node:buffer';
import { Fault } from '../base/fault.ts';
import { type Challenge, parseChallenges } from './challenge.ts';
import { field, parseJson } from './documents.ts';
import { type Endpoint, isLoopback, isRenamed } from './hosts.ts';
import type { Hop, HttpClient, Response } from './http.ts';
import { retryAfterMs, transient } from './retry-after.ts';
import { wordsOf } from './words.ts';

/** Credentials as CRI carries them; empty strings mean "not given". */
export type RegistryAuth = {
  readonly username: string;
  readonly password: string;
  /** base64 of `username:password`, used when those are empty. */
  readonly auth: string;
  /** The registry they are for; empty: the one that the reference names. */
  readonly serverAddress: string;
  readonly identityToken: string;
  readonly registryToken: string;
};

export type Credentials =
  | { readonly kind: 'none' }
  /** `encoding`: of bytes that are no UTF-8, which are shown as they came. */
  | { readonly kind: 'basic'; readonly username: string; readonly password: string; readonly encoding?: 'latin1' }
  | { readonly kind: 'identity'; readonly token: string }
  | { readonly kind: 'registry'; readonly token: string };

/** Credentials that say nothing, as kubelet sends them where it has none. */
export const isEmpty = (auth: RegistryAuth | null): boolean =>
  auth === null || Object.entries(auth).every(([name, value]) => value === '' || name === 'serverAddress');

export const none: Credentials = { kind: 'none' };
const maxTokenBytes = 1024 * 1024;

/** A service that gives no tokens for a while. */
export class BusyTokenService extends Fault {
  readonly #retryAfter: string | undefined;

  constructor(status: number, message: string, retryAfter: string | undefined) {
    super(status === 429 ? 'ResourceExhausted' : 'Unavailable', message);
    this.#retryAfter = retryAfter;
  }

  /** How long it wants to be left alone, before it is asked for the `attempt`th time again. */
  waitMs(attempt: number): number {
    return retryAfterMs(this.#retryAfter, attempt, Date.now());
  }
}

/** The name of a registry: `https://index.docker.io/v1/` and `docker.io` are one. */
export function hostOf(address: string): string {
  const host = address
    .replace(/^[a-z]+:\/\//i, '')
    .replace(/\/.*$/, '')
    .toLowerCase();
  return host === 'index.docker.io' || host === 'registry-1.docker.io' ? 'docker.io' : host;
}

/**
 * What may be shown to the registry `domain`.
 * @throws Fault InvalidArgument if `auth.auth` is not base64 of a name and a password.
 */
export function credentialsFor(domain: string, auth: RegistryAuth | null): Credentials {
  if (!auth) return none;
  if (auth.serverAddress && hostOf(auth.serverAddress) !== hostOf(domain)) return none;
  if (auth.registryToken) return { kind: 'registry', token: auth.registryToken };
  if (auth.identityToken) return { kind: 'identity', token: auth.identityToken };
  if (auth.username || auth.password) return { kind: 'basic', username: auth.username, password: auth.password };
  if (!auth.auth) return none;
  const bytes = Buffer.from(auth.auth, 'base64');
  const encoding = isUtf8(bytes) ? 'utf8' : 'latin1';
  const text = bytes.toString(encoding);
  const colon = text.indexOf(':');
  if (colon < 0) throw new Fault('InvalidArgument', 'The "auth" credential is not base64 of username:password');
  const pair = { username: text.slice(0, colon), password: text.slice(colon + 1).replace(/\0+$/, '') };
  return { kind: 'basic', ...pair, ...(encoding === 'latin1' ? { encoding } : {}) };
}

/**
 * What may be shown to a place that serves images of the registry `domain`: to a mirror what names no other place, and no
 * registry's own token, which is shown unasked. So too where registries.conf gives the images other names at another host.
 * @throws as credentialsFor does.
 */
export function credentialsAt(endpoint: Endpoint, domain: string, auth: RegistryAuth | null): Credentials {
  if (endpoint.isOwner && !isRenamed(endpoint, domain)) return credentialsFor(domain, auth);
  if (!endpoint.takesCredentials) return none;
  const credentials = credentialsFor(endpoint.base.host, auth);
  return credentials.kind === 'registry' ? none : credentials;
}

/** A registry on this host of which nothing is said, and a token service there too: met like the registry, by any certificate. */
const isBeside = (endpoint: Endpoint | null, realm: URL): boolean =>
  endpoint?.isEitherScheme === true && isLoopback(realm.hostname);

const basic = ({ username, password, encoding }: Credentials & { kind: 'basic' }): string =>
  `Basic ${Buffer.from(`${username}:${password}`, encoding ?? 'utf8').toString('base64')}`;

type TokenRequest = {
  readonly fields: URLSearchParams;
  readonly credentials: Credentials;
  readonly signal: AbortSignal;
};

/** What asks for authorization: the origin of an endpoint, or one that its redirects lead to. */
export type Guarded = {
  readonly at: URL;
  /** Its certificates and headers go to `at` alone; null: it has none. */
  readonly endpoint: Endpoint | null;
  readonly credentials: Credentials;
  /** Asked for where a challenge names no scope. */
  readonly scope: string;
};

/**
 * The Authorization header for one origin, learnt from what it asks for. Its credentials go to itself and to the token
 * service that it names, over https (or to one that is itself spoken to in plain http); a mirror's, to itself alone.
 */
export class Authorizer {
  readonly #http: HttpClient;
  readonly #guarded: Guarded;
  #header: string | null = null;
  #learning: Promise<boolean> | null = null;

  constructor(http: HttpClient, guarded: Guarded) {
    this.#http = http;
    this.#guarded = guarded;
    const { credentials } = guarded;
    if (credentials.kind === 'registry') this.#header = `Bearer ${credentials.token}`;
  }

  get header(): string | null {
    return this.#header;
  }

  /**
   * Learns from a 401 of this origin. If another request got a new header since that was shown, it will do.
   * False if there is nothing better to offer.
   */
  async learn(response: Response, signal: AbortSignal): Promise<boolean> {
    if (response.shown !== this.#header) return true;
    this.#learning ??= this.#answer(response, signal).finally(() => {
      this.#learning = null;
    });
    return this.#learning;
  }

  async #answer(response: Response, signal: AbortSignal): Promise<boolean> {
    const challenges = parseChallenges(response.headers['www-authenticate'] ?? '');
    const before = this.#header;
    let failure: unknown;
    for (const challenge of challenges) {
      try {
        const header = await this.#headerFor(challenge, signal);
        if (!header || header === before) continue;
        this.#header = header;
        return true;
      } catch (error) {
        signal.throwIfAborted();
        failure ??= error; // it may be convinced in another way that it offers
      }
    }
    if (failure) throw failure;
    return false;
  }

  async #headerFor(challenge: Challenge, signal: AbortSignal): Promise<string | null> {
    const { credentials } = this.#guarded;
    if (challenge.scheme === 'bearer' && credentials.kind !== 'registry') return this.#bearer(challenge, signal);
    if (challenge.scheme === 'basic' && credentials.kind === 'basic') return basic(credentials);
    return null;
  }

  async #bearer({ parameters }: Challenge, signal: AbortSignal): Promise<string | null> {
    const realm = this.#realm(parameters.get('realm') ?? '');
    const fields = new URLSearchParams({ scope: parameters.get('scope') || this.#guarded.scope });
    const service = parameters.get('service');
    if (service) fields.set('service', service);
    const { credentials, endpoint, at } = this.#guarded;
    const isMirror = endpoint?.isOwner === false;
    // What a mirror names elsewhere is no service of the registry's: it is asked as by anybody.
    const shown = isMirror && realm.origin !== at.origin ? none : credentials;
    let response = await this.#askToken(new URL(realm), { fields, credentials: shown, signal });
    if (isMirror && shown.kind !== 'none' && [400, 401, 403].includes(response.status)) {
      response.body.destroy(); // many mirrors know nobody of the registry's, and give to anybody
      response = await this.#askToken(new URL(realm), { fields, credentials: none, signal });
    }
    if (response.status !== 200) throw await this.#refused(response, signal);
    const json = parseJson(await this.#http.read(response, maxTokenBytes, signal), `token from ${realm.host}`);
    const token = field(json, 'token') || field(json, 'access_token');
    if (typeof token !== 'string' || !/^[\x21-\x7e]+$/.test(token)) {
      throw new Fault('Unauthenticated', `The token service ${realm.host} answered without a token`);
    }
    return `Bearer ${token}`;
  }

  async #refused(response: Response, signal: AbortSignal): Promise<Fault> {
    const { status, url, headers } = response;
    const said = await this.#http.read(response, maxTokenBytes, signal).then(wordsOf, () => '');
    const message = `The token service ${url.host} answered ${status}${said && `: ${said}`}`;
    if (transient.includes(status)) return new BusyTokenService(status, message, headers['retry-after']);
    return new Fault(status === 401 || status === 403 ? 'Unauthenticated' : 'Unavailable', message);
  }

  #askToken(realm: URL, { fields: wanted, credentials, signal }: TokenRequest): Promise<Response> {
    const { at, endpoint } = this.#guarded;
    const fields = new URLSearchParams(wanted);
    const via = realm.origin === at.origin || isBeside(endpoint, realm) ? endpoint : null;
    if (credentials.kind === 'identity') {
      fields.set('grant_type', 'refresh_token');
      fields.set('client_id', 'berth');
      fields.set('refresh_token', credentials.token);
      const headers = { 'content-type': 'application/x-www-form-urlencoded' };
      return this.#http.send(via, realm, { method: 'POST', headers, body: fields.toString(), signal });
    }
    const scopes = (fields.get('scope') ?? '').split(' ').filter(Boolean);
    for (const [name, value] of fields) realm.searchParams.set(name, value);
    // Several are asked for one by one (distribution's token specification), though a challenge has them in one parameter.
    realm.searchParams.delete('scope');
    for (const scope of scopes) realm.searchParams.append('scope', scope);
    if (credentials.kind !== 'basic') return this.#http.send(via, realm, { signal });
    realm.searchParams.set('account', credentials.username);
    const authorization = ({ isHome }: Hop) => (isHome ? basic(credentials) : null);
    return this.#http.send(via, realm, { authorization, signal });
  }

  /** @throws Fault FailedPrecondition for a realm that would carry credentials, or a token, in the clear. */
  #realm(text: string): URL {
    const { host, protocol } = this.#guarded.at;
    let realm: URL;
    try {
      realm = new URL(text);
    } catch (error) {
      throw new Fault('FailedPrecondition', `${host} names a token service that is no address`, { cause: error });
    }
    const asSafe = realm.protocol === 'https:' || (realm.protocol === 'http:' && protocol === 'http:');
    if (!asSafe) {
      throw new Fault(
        'FailedPrecondition',
        `${host} is spoken to by https, but names the token service ${realm.origin}`,
      );
    }
    realm.username = realm.password = '';
    return realm;
  }
}
