import { setTimeout as sleep } from 'node:timers/promises';
import { Fault, type FaultKind, messageOf } from '../base/fault.ts';
import { type Digest, parseDigest } from '../model/ids.ts';
import { credentialsFor, type RegistryAuth } from './auth.ts';
import { digestOf } from './digest.ts';
import { type Capability, type Endpoint, endpointsFor } from './hosts.ts';
import { type Hop, HttpClient, type Response } from './http.ts';
import { expectDigest } from './layer-stream.ts';
import { Logins } from './logins.ts';
import { acceptManifest, type Descriptor } from './manifest.ts';
import type { Reference } from './reference.ts';
import { inLanes, type Range, segmentedFrom, segmentsOf } from './segments.ts';

const maxAttempts = 4;
/** For the registry and for where it redirects to, and for a token that ran out meanwhile. */
const maxLogins = 4;
const maxRetryAfterMs = 30_000;
const maxLoggedBody = 4096;

export type Fetched = { readonly data: Buffer; readonly digest: Digest; readonly contentType: string };

/** Answered to a request for a part: the place sends whole blobs only. */
class WholeOnly extends Error {}

type Place = { readonly endpoint: Endpoint; readonly logins: Logins };

/**
 * One repository as a pull sees it: the mirrors and the registry in order, with their connections and tokens. A place
 * that fails is passed over for the next; transient failures are tried again first.
 */
export class Repository implements Disposable {
  readonly #http: HttpClient;
  readonly #reference: Reference;
  readonly #places: readonly Place[];
  readonly #signal: AbortSignal;
  /** Parts of one blob that are fetched at once. */
  readonly #lanes: number;
  #givesParts = true;

  private constructor(
    http: HttpClient,
    reference: Reference,
    places: readonly Place[],
    { signal, connectionsPerLayer }: { signal: AbortSignal; connectionsPerLayer: number },
  ) {
    this.#http = http;
    this.#reference = reference;
    this.#places = places;
    this.#signal = signal;
    this.#lanes = connectionsPerLayer;
  }

  static async open(
    reference: Reference,
    auth: RegistryAuth | null,
    options: { certsDir: string; progressTimeoutMs: number; connectionsPerLayer: number; signal: AbortSignal },
  ): Promise<Repository> {
    const http = new HttpClient(options.progressTimeoutMs);
    const credentials = credentialsFor(reference.domain, auth);
    const endpoints = await endpointsFor(reference.domain, options.certsDir);
    const places = endpoints.map((endpoint) => ({
      endpoint,
      logins: new Logins(http, endpoint, credentials, reference.path),
    }));
    return new Repository(http, reference, places, options);
  }

  /** The registry's name, wherever its mirrors are. */
  get domain(): string {
    return this.#reference.domain;
  }

  [Symbol.dispose](): void {
    this.#http[Symbol.dispose]();
  }

  /** A manifest by tag or digest, verified if it is a digest. */
  async manifest(target: string, limit: number): Promise<Fetched> {
    const expected = target.includes(':') ? parseDigest(target) : null; // a tag has no colon
    return this.#anywhere(expected ? 'pull' : 'resolve', `manifest ${target}`, async (place) => {
      const response = await this.#get(place, `manifests/${target}`, { accept: acceptManifest });
      const data = await this.#http.read(response, limit, this.#signal);
      const digest = digestOf(data, expected);
      expectDigest('Manifest', expected, digest);
      return { data, digest, contentType: response.headers['content-type'] ?? '' };
    });
  }

  /** A small blob, whole and verified. */
  async smallBlob({ digest, size }: Descriptor, limit: number): Promise<Buffer> {
    if (size > limit) throw new Fault('ResourceExhausted', `Blob ${digest} has ${size} bytes, the limit is ${limit}`);
    return this.#anywhere('pull', `blob ${digest}`, async (place) => {
      const response = await this.#get(place, `blobs/${digest}`, {});
      const data = await this.#http.read(response, size, this.#signal);
      expectDigest('Blob', digest, digestOf(data, digest));
      if (data.length !== size) {
        throw new Fault('DataLoss', `Blob ${digest} has ${data.length} bytes, its manifest says ${size}`);
      }
      return data;
    });
  }

  /**
   * A large blob's bytes, as many as its descriptor says; the caller verifies the digest. A broken transfer goes on where
   * it broke, also at another place. Where the registry gives parts of blobs, several are fetched at once.
   */
  async *blob({ digest, size }: Descriptor, signal: AbortSignal): AsyncGenerator<Buffer> {
    const lanes = this.#lanes;
    if (size < segmentedFrom || lanes < 2 || !this.#givesParts) {
      yield* this.#bytes(digest, { from: 0, to: size }, size, signal);
      return;
    }
    let yielded = 0;
    try {
      const part = (range: Range, either: AbortSignal) => this.#bytes(digest, range, size, either);
      for await (const chunk of inLanes(segmentsOf(size), lanes, part, signal)) {
        yielded += chunk.length;
        yield chunk;
      }
    } catch (error) {
      if (!(error instanceof WholeOnly)) throw error;
      this.#givesParts = false;
      yield* this.#bytes(digest, { from: yielded, to: size }, size, signal);
    }
  }

  /** A range of a blob of `size` bytes. @throws WholeOnly if it is a part, and a place answers with the whole. */
  async *#bytes(digest: Digest, { from, to }: Range, size: number, signal: AbortSignal): AsyncGenerator<Buffer> {
    const failures: string[] = [];
    let offset = from;
    let kind: FaultKind = 'Unavailable';
    for (const place of this.#able('pull')) {
      for (let attempt = 0; attempt < maxAttempts; attempt++) {
        const before = offset;
        try {
          for await (const chunk of this.#rest(place, digest, { from: offset, to }, size, signal)) {
            offset += chunk.length;
            yield chunk;
          }
          return;
        } catch (error) {
          if (signal.aborted) throw signal.reason;
          if (error instanceof WholeOnly) throw error;
          failures.push(`${place.endpoint.base.host}: ${messageOf(error)}`);
          kind = error instanceof Fault ? error.kind : 'Unavailable';
          if (kind !== 'Unavailable') break;
          if (offset > before)
            attempt = -1; // it moves: only standing still is counted
          else await sleep(250 * 2 ** attempt, undefined, { signal });
        }
      }
    }
    throw new Fault(kind, `Cannot fetch blob ${digest}: ${failures.slice(-5).join('; ')}`);
  }

  /** The bytes of a range as one place sends them; its response may begin earlier. */
  async *#rest(place: Place, digest: string, want: Range, size: number, signal: AbortSignal): AsyncGenerator<Buffer> {
    const isPart = want.to < size;
    const range: Record<string, string> =
      isPart || want.from > 0 ? { range: `bytes=${want.from}-${isPart ? want.to - 1 : ''}` } : {};
    const response = await this.#get(place, `blobs/${digest}`, range, signal);
    const { host } = response.url;
    const begin = response.status === 206 ? contentRangeStart(response) : 0;
    if (response.status === 200 && isPart) {
      response.body.destroy();
      throw new WholeOnly();
    }
    if (begin > want.from) {
      response.body.destroy();
      throw new Fault('FailedPrecondition', `${host} sent bytes from ${begin} on, asked for ${want.from}`);
    }
    let at = begin;
    for await (const chunk of this.#http.chunks(response, signal)) {
      const useful = chunk.subarray(Math.min(Math.max(want.from - at, 0), chunk.length));
      at += chunk.length;
      if (at > want.to) throw new Fault('DataLoss', `${host} sent more than the ${size} bytes of blob ${digest}`);
      if (useful.length > 0) yield useful;
    }
    if (at < want.to) throw new Fault('Unavailable', `${host} sent ${at} of the ${size} bytes of blob ${digest}`);
  }

  #able(capability: Capability): Place[] {
    return this.#places.filter(({ endpoint }) => endpoint.capabilities.has(capability));
  }

  /** Asks one place after the other; if none can, the error names each and has the most telling kind. */
  async #anywhere<T>(capability: Capability, what: string, ask: (place: Place) => Promise<T>): Promise<T> {
    const failures: Fault[] = [];
    const places = this.#able(capability);
    for (const place of places) {
      try {
        return await ask(place);
      } catch (error) {
        if (this.#signal.aborted) throw this.#signal.reason;
        const kind = error instanceof Fault ? error.kind : 'Unavailable';
        failures.push(new Fault(kind, `${place.endpoint.base.host}: ${messageOf(error)}`, { cause: error }));
      }
    }
    const name = `${this.#reference.domain}/${this.#reference.path}`;
    const list = failures.map(({ message }) => message).join('; ') || 'no host has the capability';
    const kind =
      failures.find((fault) => fault.kind === 'Unauthenticated')?.kind ?? failures.at(-1)?.kind ?? 'Unavailable';
    throw new Fault(kind, `Cannot fetch ${what} of ${name}: ${list}`, { cause: failures.at(-1) });
  }

  /** A successful response. Waits as a busy server asks, within bounds; answers a 401 as far as there are credentials. */
  async #get(
    { endpoint, logins }: Place,
    path: string,
    headers: Record<string, string>,
    signal = this.#signal,
  ): Promise<Response> {
    const url = new URL(`${endpoint.base.href}/${this.#reference.path}/${path}`);
    if (!endpoint.isOwner) url.searchParams.set('ns', this.#reference.domain);
    const authorization = (hop: Hop) => logins.header(hop);
    let refusals = 0;
    for (let attempt = 0; ; ) {
      const response = await this.#http.send(endpoint, url, { headers, authorization, signal });
      const { status } = response;
      if (status === 200 || status === 206) return response;
      if (status === 401 && refusals++ < maxLogins) {
        response.body.destroy();
        await logins.learn(response, signal);
        continue;
      }
      if (![429, 500, 502, 503, 504].includes(status) || ++attempt >= maxAttempts)
        throw await this.#refused(response, signal);
      response.body.destroy();
      await sleep(retryAfterMs(response.headers['retry-after'], attempt, Date.now()), undefined, { signal });
    }
  }

  async #refused(response: Response, signal: AbortSignal): Promise<Fault> {
    const { status, url } = response;
    const said = await this.#http.read(response, maxLoggedBody, signal).then(registryError, () => '');
    return new Fault(kindOfStatus(status), `${url.host} answered ${status}${said && `: ${said}`}`);
  }
}

/** The messages of a registry's error document (distribution-spec, "Error Codes"), printable and short. */
function registryError(body: Buffer): string {
  try {
    const { errors } = JSON.parse(body.toString('utf8')) as { errors?: { code?: unknown; message?: unknown }[] };
    const text = (errors ?? []).map(({ code, message }) => `${code}: ${message}`).join('; ');
    return text.replace(/[^\x20-\x7e]/g, '?').slice(0, 300);
  } catch {
    return ''; // not every server in the way speaks JSON
  }
}

function kindOfStatus(status: number): FaultKind {
  if (status === 404) return 'NotFound';
  if (status === 401 || status === 403) return 'Unauthenticated';
  if (status === 429) return 'ResourceExhausted';
  return status >= 500 ? 'Unavailable' : 'FailedPrecondition';
}

function contentRangeStart(response: Response): number {
  const match = /^bytes ([0-9]{1,15})-/.exec(response.headers['content-range'] ?? '');
  if (match) return Number(match[1]);
  response.body.destroy();
  throw new Fault('FailedPrecondition', `${response.url.host} sent a part without saying which`);
}

/** Retry-After in seconds or as a date (RFC 9110, 10.2.3); anything else is a doubling wait. Never long. */
export function retryAfterMs(header: string | undefined, attempt: number, now: number): number {
  const text = header?.trim() ?? '';
  const date = /[a-z]/i.test(text) ? Date.parse(text) : Number.NaN;
  const said = /^[0-9]{1,9}$/.test(text) ? Number(text) * 1000 : Math.max(date - now, 0);
  return Math.min(Number.isNaN(said) ? 500 * 2 ** attempt : said, maxRetryAfterMs);
}
