import { setTimeout as sleep } from 'node:timers/promises';
import { Fault, type FaultKind, messageOf } from '../base/fault.ts';
import { log } from '../base/log.ts';
import { type Digest, isDigest, parseDigest } from '../model/ids.ts';
import { ownFiles } from '../sys/own-files.ts';
import type { RegistryAuth } from './auth.ts';
import { credentialsOf } from './auth-for.ts';
import { Blob } from './blob.ts';
import { digestOf } from './digest.ts';
import type { Capability } from './hosts.ts';
import { HttpClient, OddAnswer, type Patience, passOver } from './http.ts';
import { expectDigest } from './layer-stream.ts';
import { Logins } from './logins.ts';
import { acceptManifest, type Descriptor, parseManifest } from './manifest.ts';
import { isDown, Place } from './place.ts';
import type { PlaceMemories } from './place-memory.ts';
import { Places } from './places.ts';
import type { Reference } from './reference.ts';
import { Turns } from './turns.ts';
import { placesFor, type WhereSettings } from './where.ts';

/** Between two requests for a document that was interrupted. */
const againMs = 200;

/** Kinds of failure that are not about what was asked for: the place is down, or what it gave is not what it should be. */
const notWell: readonly FaultKind[] = ['Unavailable', 'DeadlineExceeded', 'DataLoss', 'InvalidArgument'];

export type Fetched = { readonly data: Buffer; readonly digest: Digest; readonly contentType: string };

export type RepositoryOptions = {
  readonly where: WhereSettings;
  /** Credentials of the node: mirrors that it names get theirs. */
  readonly authFile: string;
  readonly patience: Patience;
  readonly memories: PlaceMemories;
  readonly connectionsPerLayer: number;
  readonly signal: AbortSignal;
};

type Ask<T> = (place: Place, isLast: boolean) => Promise<T>;

/**
 * One repository as a pull sees it: the mirrors and the registry in order, with their connections and tokens. A place
 * that fails is passed over for the next; the last one's transient failures are waited for.
 */
export class Repository implements Disposable {
  readonly #http: HttpClient;
  readonly #reference: Reference;
  readonly #places: Places;
  readonly #signal: AbortSignal;
  readonly #lanes: number;

  private constructor(
    http: HttpClient,
    reference: Reference,
    places: Places,
    { signal, connectionsPerLayer }: { signal: AbortSignal; connectionsPerLayer: number },
  ) {
    this.#http = http;
    this.#reference = reference;
    this.#places = places;
    this.#signal = signal;
    this.#lanes = connectionsPerLayer;
  }

  static async open(reference: Reference, auth: RegistryAuth | null, options: RepositoryOptions): Promise<Repository> {
    const http = new HttpClient(options.patience);
    const endpoints = await placesFor(reference, options.where);
    for (const remark of endpoints.flatMap(({ remarks }) => remarks)) log.warn({ registry: reference.domain }, remark);
    const { authFile, memories, where } = options;
    const node = { authFile, hostFiles: where.hostFiles ?? ownFiles };
    const places = endpoints.map(async (endpoint) => {
      const credentials = await credentialsOf(endpoint, reference, auth, node);
      const logins = new Logins(http, endpoint, credentials, endpoint.repository ?? reference.path);
      return new Place({ http, logins, memory: memories.of(endpoint) }, endpoint, reference);
    });
    return new Repository(http, reference, new Places(await Promise.all(places)), options);
  }

  /** The registry's name, wherever its mirrors are. */
  get domain(): string {
    return this.#reference.domain;
  }

  /** The hosts that gave something of it. */
  hosts(): string[] {
    return this.#places.gave();
  }

  [Symbol.dispose](): void {
    this.#http[Symbol.dispose]();
  }

  /** A manifest by tag or digest, verified if it is a digest. */
  async manifest(target: string, limit: number): Promise<Fetched> {
    const expected = expectedOf(target);
    return this.#anywhere(expected ? 'pull' : 'resolve', `manifest ${target}`, async (place, isLast) => {
      const asking = { headers: { accept: acceptManifest }, signal: this.#signal, isLast };
      const response = await place.get(`manifests/${target}`, asking);
      const data = await this.#http.read(response, limit, this.#signal);
      const digest = digestOf(data, expected);
      expectDigest('Manifest', expected, digest);
      const contentType = response.headers['content-type'] ?? '';
      // What a mirror that is none says of a tag is no manifest: the next place may know better.
      if (!isLast && !expected) parseManifest(data, contentType);
      return { data, digest, contentType };
    });
  }

  /** What a tag means now, at the price of a request without a body; null if nobody says so. */
  async digestOf(target: string): Promise<Digest | null> {
    const ask: Ask<string> = async (place, isLast) => {
      const asking = { method: 'HEAD', headers: { accept: acceptManifest }, signal: this.#signal, isLast } as const;
      const { headers, body } = await place.get(`manifests/${target}`, asking);
      passOver(body, false);
      // One that is said on two lines came through a proxy that adds its own.
      return String(headers['docker-content-digest'] ?? '')
        .split(',', 1)[0]!
        .trim();
    };
    try {
      const digest = await this.#anywhere(expectedOf(target) ? 'pull' : 'resolve', `manifest ${target}`, ask);
      return isDigest(digest) ? digest : null;
    } catch {
      this.#signal.throwIfAborted();
      return null; // not all answer a HEAD; the GET that follows says what is wrong
    }
  }

  /** A small blob, whole and verified. */
  async smallBlob({ digest, size, data: inlined }: Descriptor, limit: number): Promise<Buffer> {
    if (inlined) return inlined;
    if (size > limit) throw new Fault('ResourceExhausted', `Blob ${digest} has ${size} bytes, the limit is ${limit}`);
    return this.#anywhere('pull', `blob ${digest}`, async (place, isLast) => {
      const response = await place.get(`blobs/${digest}`, { signal: this.#signal, isLast });
      const data = await this.#http.read(response, size, this.#signal);
      expectDigest('Blob', digest, digestOf(data, digest));
      if (data.length !== size) {
        throw new Fault('DataLoss', `Blob ${digest} has ${data.length} bytes, its manifest says ${size}`);
      }
      return data;
    });
  }

  /** A large blob. */
  blob(descriptor: Descriptor): Blob {
    return new Blob(descriptor, this.#places, this.#http, this.#lanes);
  }

  /** Asks one place after the other; if none can, the error names each. Its kind: credentials first, then what the registry itself said. */
  async #anywhere<T>(capability: Capability, what: string, ask: Ask<T>): Promise<T> {
    const failures: Fault[] = [];
    let ownersKind: FaultKind | undefined;
    const order = this.#places.able(capability);
    const turns = new Turns(order);
    for (const { place, isLast } of turns) {
      try {
        return await this.#askTwice(ask, place, isLast);
      } catch (error) {
        if (this.#signal.aborted) throw this.#signal.reason;
        const kind = error instanceof Fault ? error.kind : 'Unavailable';
        if (place.endpoint.isOwner) ownersKind = kind;
        failures.push(new Fault(kind, `${place.host}: ${messageOf(error)}`, { cause: error }));
        turns.failed(error);
        if (!isLast && notWell.includes(kind)) place.memory.failed(messageOf(error));
      }
    }
    const name = `${this.#reference.domain}/${this.#reference.path}`;
    const words = [
      ...failures.map(({ message }) => message),
      ...this.#places.passedOver(capability, order),
      ...this.#places.remarks(),
    ];
    const isRefused = failures.some((fault) => fault.kind === 'Unauthenticated');
    const kind = isRefused ? 'Unauthenticated' : (ownersKind ?? failures.at(-1)?.kind ?? 'Unavailable');
    const list = words.join('; ') || 'no host has the capability';
    throw new Fault(kind, `Cannot fetch ${what} of ${name}: ${list}`, { cause: failures.at(-1) });
  }

  /** What broke on its way is asked for once more of the last place; of any, where it is known now how its answers are to be read. */
  async #askTwice<T>(ask: Ask<T>, place: Place, isLast: boolean): Promise<T> {
    try {
      return await ask(place, isLast);
    } catch (error) {
      const isWorthIt = isLast ? isDown(error) && error.kind === 'Unavailable' : error instanceof OddAnswer;
      if (this.#signal.aborted || !isWorthIt) throw error;
      await sleep(againMs, undefined, { signal: this.#signal });
      return await ask(place, isLast);
    }
  }
}

/** A tag has no colon. */
const expectedOf = (target: string): Digest | null => (target.includes(':') ? parseDigest(target) : null);
