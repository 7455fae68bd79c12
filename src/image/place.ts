import { setTimeout as sleep } from 'node:timers/promises';
import { Fault, type FaultKind } from '../base/fault.ts';
import { BusyTokenService } from './auth.ts';
import { type Endpoint, registryHost } from './hosts.ts';
import { type Hop, type HttpClient, passOver, type Response } from './http.ts';
import type { Logins } from './logins.ts';
import type { PlaceMemory } from './place-memory.ts';
import { retryAfterMs, transient } from './retry-after.ts';
import { wordsOf } from './words.ts';

const maxAttempts = 4;
/** For the registry and for where it redirects to, and for a token that ran out meanwhile. */
const maxLogins = 4;
/** What is read of a refusal for the words in it, and how long they are waited for. */
const longestRefusal = 64 * 1024;
const wordsMs = 2000;

/** What a place that is not the last is given to say something, if it may be dialled for a shorter time. */
const leastSilenceMs = 5000;

/** How a place is asked. */
export type Asking = {
  readonly method?: 'GET' | 'HEAD';
  readonly headers?: Record<string, string>;
  readonly signal: AbortSignal;
  /** Nobody else is left to ask: a busy server is waited for. Otherwise its first answer decides. */
  readonly isLast: boolean;
};

/** What a place answered instead of what it was asked for. */
export class Refused extends Fault {
  readonly status: number;

  constructor(status: number, message: string) {
    super(kindOfStatus(status), message);
    this.status = status;
  }
}

/** True if a place cannot be talked to, rather than having said no. */
export const isDown = (error: unknown): error is Fault =>
  error instanceof Fault && (error.kind === 'Unavailable' || error.kind === 'DeadlineExceeded');

/** A mirror or a registry, as one pull of one repository asks it. */
export class Place {
  readonly endpoint: Endpoint;
  /** It answered a request with what was asked for. */
  gave = false;
  readonly memory: PlaceMemory;
  readonly #http: HttpClient;
  readonly #logins: Logins;
  readonly #repository: { readonly domain: string; readonly path: string };

  constructor(
    { http, logins, memory }: { http: HttpClient; logins: Logins; memory: PlaceMemory },
    endpoint: Endpoint,
    repository: { readonly domain: string; readonly path: string },
  ) {
    this.endpoint = endpoint;
    this.memory = memory;
    this.#http = http;
    this.#logins = logins;
    this.#repository = repository;
  }

  get host(): string {
    return this.endpoint.base.host;
  }

  /** A successful response for `<repository>/<path>`. Remembers of the place what the next one who asks should know. */
  async get(path: string, asking: Asking): Promise<Response> {
    const asked = performance.now();
    try {
      const response = await this.#get(path, asking);
      this.memory.answered(asked);
      this.gave = true;
      return response;
    } catch (error) {
      if (!asking.signal.aborted && isDown(error)) this.memory.failed(error.message);
      throw error;
    }
  }

  async #get(path: string, { method = 'GET', headers = {}, signal, isLast }: Asking): Promise<Response> {
    const authorization = (hop: Hop) => this.#logins.header(hop);
    const silence = isLast ? {} : { silenceMs: Math.max(this.endpoint.dialTimeoutMs, leastSilenceMs) };
    let refusals = 0;
    for (let attempt = 0; ; ) {
      await this.#untilFree(signal, isLast);
      const response = await this.#sendBySomeScheme(path, { method, headers, authorization, signal, ...silence });
      const { status } = response;
      if (status === 200 || status === 206) return response;
      if (status === 401 && refusals++ < maxLogins) {
        await this.#learn(response, signal).catch(async (error) => {
          if (!(error instanceof BusyTokenService)) throw error;
          const ms = error.waitMs(++attempt);
          if (error.kind === 'ResourceExhausted') this.memory.busyFor(ms);
          if (!isLast || attempt >= maxAttempts) throw error;
          await sleep(ms, undefined, { signal });
        });
        continue;
      }
      const waitMs = retryAfterMs(response.headers['retry-after'], attempt + 1, Date.now());
      if (status === 429) this.memory.busyFor(waitMs);
      if (!isLast || !transient.includes(status) || ++attempt >= maxAttempts)
        throw await this.#refused(response, signal);
      passOver(response.body);
      await sleep(waitMs, undefined, { signal });
    }
  }

  /** Others wait for their turn with whoever was told to. */
  async #untilFree(signal: AbortSignal, isLast: boolean): Promise<void> {
    const ms = this.memory.busyMs();
    if (ms === 0) return;
    if (!isLast)
      throw new Fault('ResourceExhausted', `${this.host} wants to be left alone for ${Math.ceil(ms / 1000)} s more`);
    await sleep(ms, undefined, { signal });
  }

  /**
   * A place of which nobody said how it is spoken to is asked in plain http, and by https if it does not understand that: Go's
   * servers and nginx answer 400, others hang up. The other way round where it is known to speak https, and where no port was
   * given, as each has a port of its own then: what answers at that of http may be no registry.
   */
  async #sendBySomeScheme(path: string, request: Parameters<HttpClient['send']>[2]): Promise<Response> {
    const { endpoint, memory } = this;
    const send = (isTls: boolean) => this.#http.send(endpoint, this.#url(path, isTls), request);
    if (!endpoint.isEitherScheme) return send(false);
    let byTls: unknown;
    if (memory.speaksTls ?? endpoint.base.port === '') {
      try {
        return await send(true);
      } catch (error) {
        if (!isDown(error) || request.signal.aborted) throw error;
        byTls = error;
        memory.speaksTls = false; // another one may listen there by now
      }
    }
    let plain: Response | null = null;
    try {
      plain = await send(false);
      if (byTls !== undefined || plain.status !== 400) return plain;
    } catch (error) {
      if (byTls !== undefined) memory.speaksTls = null;
      if (byTls !== undefined || !isDown(error) || request.signal.aborted) throw byTls ?? error;
      const response = await send(true).catch(() => Promise.reject(error));
      memory.speaksTls = true;
      return response;
    }
    try {
      const response = await send(true);
      memory.speaksTls = true;
      plain.body.destroy();
      return response;
    } catch {
      return plain;
    }
  }

  #url(what: string, isTls: boolean): URL {
    const { base, isOwner, repository } = this.endpoint;
    const { domain, path } = this.#repository;
    const url = new URL(`${base.href.replace(/\/$/, '')}/${repository ?? path}/${what}`); // the root of a server ends with one
    if (isTls) url.protocol = 'https:';
    // A server that is not the registry itself serves several, and has to be told which (containerd's `ns`); not where the name
    // says it already.
    if (repository !== undefined) return url;
    if (!isOwner || base.host !== registryHost(domain)) url.searchParams.set('ns', domain);
    return url;
  }

  async #refused(response: Response, signal: AbortSignal): Promise<Refused> {
    const { status, url } = response;
    return new Refused(status, `${url.host} answered ${status}${await this.#words(response, signal)}`);
  }

  /** What a refusal says comes while better credentials are looked for. */
  async #learn(response: Response, signal: AbortSignal): Promise<void> {
    await this.#logins.learn(response, this.#words(response, signal), signal);
  }

  /** A server's own words for a refusal, and what it was shown. */
  async #words(response: Response, signal: AbortSignal): Promise<string> {
    const { status } = response;
    const either = AbortSignal.any([signal, AbortSignal.timeout(wordsMs)]);
    const said = await this.#http.read(response, longestRefusal, either).then(wordsOf, () => '');
    const sent = status === 401 || status === 403 || status === 404 ? ` (asked ${this.#logins.words(response)})` : '';
    return `${said && `: ${said}`}${sent}`;
  }
}

function kindOfStatus(status: number): FaultKind {
  if (status === 404) return 'NotFound';
  if (status === 401 || status === 403) return 'Unauthenticated';
  if (status === 429) return 'ResourceExhausted';
  return status >= 500 ? 'Unavailable' : 'FailedPrecondition';
}
