import { setTimeout as sleep } from 'node:timers/promises';
import { Fault, type FaultKind, messageOf } from '../base/fault.ts';
import { canDecode, cannotDecode, decodedChunks, isCalledEncoded } from './content-encoding.ts';
import { type HttpClient, OddAnswer, type Response } from './http.ts';
import { compressionOf } from './layer-stream.ts';
import type { Descriptor } from './manifest.ts';
import { isDown, type Place, Refused } from './place.ts';
import type { Places } from './places.ts';
import { inLanes, type Range, segmentedFrom, segmentsOf } from './segments.ts';
import { Turns } from './turns.ts';

const maxAttempts = 4;
/** Transfers that broke after less than this are not worth being made for ever. */
const crumbBytes = 64 * 1024;
const maxCrumbs = 16;
/**
 * Answers that are not about the part: who may have it, whether it is there, whether the server is. Any other one to a request
 * for a part (not satisfiable, bad, forbidden, not implemented) may be of a server that knows only whole blobs.
 */
const notAboutParts: readonly number[] = [401, 404, 410, 429, 451, 502, 503, 504];

/** A part was asked for, and the place gives only the whole. */
class WholeOnly extends Error {}

type Want = Range & { readonly isPart: boolean };
type Opened = { readonly response: Response; readonly isRanged: boolean };
type Ask = { readonly place: Place; readonly isLast: boolean; readonly signal: AbortSignal };

/** One large blob of a repository, at whichever places have it. The caller verifies its digest. */
export class Blob {
  readonly #descriptor: Descriptor;
  readonly #places: Places;
  readonly #http: HttpClient;
  readonly #lanes: number;
  /** Said no, or gave what was not this blob. */
  readonly #refused = new Set<Place>();
  /** Whose bytes were given to the caller. */
  readonly #gave = new Set<Place>();
  /** Did not give a part when asked for one. */
  readonly #wholeOnly = new Set<Place>();

  /** `lanes`: how many parts are fetched at once. */
  constructor(descriptor: Descriptor, places: Places, http: HttpClient, lanes: number) {
    this.#descriptor = descriptor;
    this.#places = places;
    this.#http = http;
    this.#lanes = lanes;
  }

  /**
   * Its bytes, as many as its descriptor says. A broken transfer goes on where it broke, also at another place. Where the
   * place gives parts of blobs, several are fetched at once.
   */
  async *bytes(signal: AbortSignal): AsyncGenerator<Buffer> {
    const { size, data } = this.#descriptor;
    if (data) {
      yield Buffer.from(new Uint8Array(data).buffer); // a copy: who reads it keeps its memory
      return;
    }
    let yielded = 0;
    if (size >= segmentedFrom && this.#lanes > 1 && this.#startsWithParts()) {
      try {
        const part = (range: Range, either: AbortSignal) => this.#range({ ...range, isPart: true }, either);
        for await (const chunk of inLanes(segmentsOf(size), this.#lanes, part, signal)) {
          yielded += chunk.length;
          yield chunk;
        }
        return;
      } catch (error) {
        if (!(error instanceof WholeOnly)) throw error;
      }
    }
    yield* this.#range({ from: yielded, to: size, isPart: false }, signal);
  }

  /**
   * What it gave was not this blob: false if nobody else is left to ask, after which it is as it was. Of several that gave parts of it
   * any may be the one: the last that would be asked is held guiltless until it gave all.
   */
  blame(): boolean {
    const order = this.#places.able('pull', this.#refused);
    const guilty = [...this.#gave].filter((place) => this.#gave.size === 1 || place !== order.at(-1));
    const left = this.#places.able('pull', new Set([...this.#refused, ...guilty]));
    if (guilty.length === 0 || left.length === 0) return false;
    for (const place of guilty) {
      this.#refused.add(place);
      place.memory.failed(`it gave other bytes than blob ${this.#descriptor.digest}`);
    }
    this.#gave.clear();
    return true;
  }

  #startsWithParts(): boolean {
    const [first] = this.#places.able('pull', this.#refused);
    return first !== undefined && this.#givesParts(first);
  }

  #givesParts(place: Place): boolean {
    return place.memory.givesParts() && !this.#wholeOnly.has(place);
  }

  /** @throws WholeOnly if it is a part, and a place gives only the whole. */
  async *#range(want: Want, signal: AbortSignal): AsyncGenerator<Buffer> {
    const failures: string[] = [];
    let offset = want.from;
    let kind: FaultKind = 'Unavailable';
    const order = this.#order();
    const turns = new Turns(order);
    for (const { place, isLast } of turns) {
      let crumbs = 0;
      for (let attempt = 0; attempt < (isLast ? maxAttempts : 1); attempt++) {
        const before = offset;
        try {
          for await (const chunk of this.#rest({ ...want, from: offset }, { place, isLast, signal })) {
            offset += chunk.length;
            this.#gave.add(place);
            yield chunk;
          }
          return;
        } catch (error) {
          if (signal.aborted) throw signal.reason;
          // All is here: what broke, or never came, is the end of it. The digest says whether it is the blob.
          if (offset === want.to && offset > before && isDown(error)) return;
          if (error instanceof WholeOnly) {
            if (want.isPart) throw error;
            attempt--; // asked for the whole now, and for that once
            continue;
          }
          if (error instanceof OddAnswer) {
            attempt--; // now it is known how to read what comes, and that is so once
            continue;
          }
          failures.push(`${place.host}: ${messageOf(error)}`);
          kind = error instanceof Fault ? error.kind : 'Unavailable';
          // A busy server was waited for, and that is said of each part: perhaps of parts alone, or of several at once.
          const isBusy = error instanceof Refused && (kind === 'Unavailable' || error.status === 429);
          if (want.isPart && isLast && isBusy) throw this.#onlyWhole(place);
          if (kind !== 'Unavailable') {
            if (!isLast) this.#refused.add(place);
            if (!isLast && isDown(error)) place.memory.failed(messageOf(error));
            turns.failed(error);
            break;
          }
          const moved = offset - before;
          if (moved >= crumbBytes || (moved > 0 && crumbs++ < maxCrumbs))
            attempt = -1; // it moves: only standing still is counted
          else if (!isLast) place.memory.failed(messageOf(error));
          else if (attempt + 1 < maxAttempts) await sleep(250 * 2 ** attempt, undefined, { signal });
          else if (want.isPart)
            throw this.#onlyWhole(place); // that there is nothing but trouble with parts is one reason
          else turns.failed(error);
        }
      }
    }
    failures.push(...this.#places.passedOver('pull', order));
    const { digest, elsewhere } = this.#descriptor;
    const words = failures.slice(-5).join('; ');
    throw new Fault(kind, `Cannot fetch blob ${digest}: ${words}${kind === 'NotFound' ? foreignWords(elsewhere) : ''}`);
  }

  /** Nobody is left only if all were refused: then all are asked again, for their words. */
  #order(): Place[] {
    const order = this.#places.able('pull', this.#refused);
    return order.length > 0 ? order : this.#places.able('pull');
  }

  /** A range as one place sends it; its response may be the whole. */
  async *#rest(want: Want, { place, isLast, signal }: Ask): AsyncGenerator<Buffer> {
    const { digest, size } = this.#descriptor;
    const { response, isRanged } = await this.#open(want, { place, isLast, signal });
    const { host } = response.url;
    let at = isRanged && response.status === 206 ? want.from : 0;
    for await (const chunk of this.#content(response, place, signal)) {
      const useful = chunk.subarray(Math.min(Math.max(want.from - at, 0), chunk.length));
      at += chunk.length;
      if (at > want.to && isRanged && response.status === 206) throw this.#onlyWhole(place); // it says one thing and sends another
      if (at > want.to) throw new Fault('DataLoss', `${host} sent more than the ${size} bytes of blob ${digest}`);
      if (useful.length > 0) yield useful;
    }
    if (at < want.to) throw new Fault('Unavailable', `${host} sent ${at} of the ${size} bytes of blob ${digest}`);
  }

  /** What a response brings. A server may have encoded a whole blob unasked, or call it so (a store of which all is gzip). */
  #content(response: Response, place: Place, signal: AbortSignal): AsyncIterable<Buffer> {
    const { size, mediaType } = this.#descriptor;
    const chunks = this.#http.chunks(response, signal);
    const encoding = response.headers['content-encoding'];
    const said = saidLength(response, -1);
    if (!encoding || !isCalledEncoded(encoding) || response.status !== 200 || said === size) return chunks;
    this.#wholeOnly.add(place); // its parts would be parts of what it sends
    if (said >= 0 && !canDecode(encoding)) {
      response.body.destroy();
      throw cannotDecode(`What ${response.url.host} sent`, encoding);
    }
    const called = /gzip|zstd/.exec(mediaType)?.[0] ?? 'none';
    return decodedChunks(chunks, encoding, (begin) => begin.length > 0 && compressionOf(begin) === called);
  }

  /** A response with exactly the range wanted (206 where it was asked for), or with the whole blob. */
  async #open({ from, to, isPart }: Want, { place, isLast, signal }: Ask): Promise<Opened> {
    const { digest, size } = this.#descriptor;
    const isRanged = (from > 0 || to < size) && this.#givesParts(place);
    // Both ends, always: some servers take a range without an end for one that cannot be satisfied.
    const headers: Record<string, string> = isRanged ? { range: `bytes=${from}-${to - 1}` } : {};
    const response = await place.get(`blobs/${digest}`, { headers, signal, isLast }).catch((error) => {
      if (isRanged && error instanceof Refused && !notAboutParts.includes(error.status)) throw this.#onlyWhole(place);
      throw error;
    });
    const refuse = (error: Error): never => {
      response.body.destroy();
      throw error;
    };
    const { host } = response.url;
    if (!isLast && /^text\/html\b/i.test(response.headers['content-type'] ?? '')) {
      refuse(new Fault('FailedPrecondition', `${host} sent a page, not blob ${digest}`));
    }
    if (isRanged && response.status === 206 && !isPartAsWanted(response, from, to)) refuse(this.#onlyWhole(place));
    if (response.status === 200 && (isRanged || this.#wholeOnly.has(place))) place.memory.refusedPart();
    if (response.status === 200 && isPart) refuse(this.#onlyWhole(place));
    if (!isRanged && response.status === 206 && !isWhole(response, size)) {
      refuse(new Fault('FailedPrecondition', `${host} sent a part of blob ${digest}, which nobody asked for`));
    }
    return { response, isRanged };
  }

  /** To be thrown: from now on the place is asked for the whole. */
  #onlyWhole(place: Place): WholeOnly {
    this.#wholeOnly.add(place);
    return new WholeOnly();
  }
}

/** Why a layer that no registry keeps cannot be had (docs/decisions.md, "A manifest sends nobody elsewhere"). */
const foreignWords = (host: string | undefined): string =>
  host === undefined
    ? ''
    : `; its manifest says that it is at ${host}, where nothing is fetched from: push the image with all of its layers`;

/** Whether a Content-Range is of the bytes from `from` up to, not including, `to` (RFC 9110, 14.4). */
function isRange(header: string | undefined, from: number, to: number): boolean {
  const [, first, last] = /^bytes ([0-9]{1,15})-([0-9]{1,15})\/(?:[0-9]+|\*)$/.exec(header ?? '') ?? [];
  return Number(first) === from && Number(last) === to - 1;
}

/** The length that a response says, or `otherwise`. */
const saidLength = ({ headers }: Response, otherwise: number): number => Number(headers['content-length'] ?? otherwise);

const isPartAsWanted = (response: Response, from: number, to: number): boolean =>
  isRange(response.headers['content-range'], from, to) && saidLength(response, to - from) === to - from;

/** Whether a 206 that nobody asked for is of everything: some servers answer nothing else. */
function isWhole(response: Response, size: number): boolean {
  const range = response.headers['content-range'];
  return range === undefined ? saidLength(response, size) === size : isRange(range, 0, size);
}
