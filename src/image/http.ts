import { request as httpRequest, type IncomingMessage, type OutgoingHttpHeaders } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { isIPv6, type Socket } from 'node:net';
import { Fault, isErrno, messageOf } from '../base/fault.ts';
import { letGoWhole } from '../base/let-go.ts';
import { BodyPieces } from './body-pieces.ts';
import { Connections, mostConnections } from './connections.ts';
import { decoded } from './content-encoding.ts';
import type { Endpoint } from './hosts.ts';
import { isOddAnswer } from './plain-answer.ts';
import { userInfoOf } from './tunnel.ts';

export type Request = {
  readonly method?: 'GET' | 'HEAD' | 'POST';
  readonly headers?: OutgoingHttpHeaders;
  readonly body?: string;
  /** The Authorization header for each place on the way; null: none. Absent: none anywhere. */
  readonly authorization?: (hop: Hop) => string | null;
  readonly signal: AbortSignal;
  /** The longest silence of any kind, where that is shorter than what others are given: somebody else can be asked. */
  readonly silenceMs?: number;
};

/** Where a request, or what a redirect made of it, goes. */
export type Hop = {
  readonly url: URL;
  /** Path and query as a redirect spelled them: a signature may be of these very bytes. Absent: those of `url`. */
  readonly spelling?: string;
  /** False once a redirect led to another origin, even if a later one leads back: others chose what is asked there. */
  readonly isHome: boolean;
  /** The Authorization header that a redirect's own address brings, for where it leads. */
  readonly brought?: string;
};

/** A response whose body was not read: read it or destroy it. */
export type Response = Hop & {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly body: IncomingMessage;
  /** The Authorization header that was shown for it. */
  readonly shown: string | null;
  /** How long its body may be silent. */
  readonly silenceMs: number;
  /** Who sends it, and at which address: for errors. */
  readonly sender: string;
};

/** How long a place may be silent, in milliseconds. */
export type Patience = {
  /** Before the first byte of its answer: a pull-through cache fetches from elsewhere meanwhile. */
  readonly answerMs: number;
  /** Between two bytes. */
  readonly progressMs: number;
};

/** What else means that all is here: 203 is a 200 that a proxy has touched, the others have no meaning for a GET and come all the same. */
const wholeStatuses = [201, 203, 207, 208, 214, 218, 226];
/** As Go's clients follow. */
const maxRedirects = 10;
/** Some registries send long policies; Go's clients take ten megabytes. */
const maxHeaderBytes = 1024 * 1024;
const version = 'berth';

/** The requests of one pull. */
export class HttpClient implements Disposable {
  readonly #patience: Patience;
  readonly #connections = new Connections();

  constructor(patience: Patience) {
    this.#patience = patience;
  }

  [Symbol.dispose](): void {
    this.#connections[Symbol.dispose]();
  }

  /**
   * Sends a request and follows redirects. Only the first host sees the endpoint's headers and client certificate; a
   * redirect never goes from https to http.
   * @throws Fault Unavailable (unreachable), DeadlineExceeded (silent), FailedPrecondition (redirects).
   */
  async send(endpoint: Endpoint | null, url: URL, request: Request): Promise<Response> {
    let at: Hop = { url, isHome: true };
    const been: string[] = [];
    for (let hops = 0; hops <= maxRedirects; hops++) {
      const response = await this.#once(at.isHome ? endpoint : null, at, request);
      const { location } = response.headers;
      if (![301, 302, 303, 307, 308].includes(response.status) || !location || request.method === 'POST')
        return response;
      passOver(response.body);
      been.push(at.url.href);
      const target = redirectTarget(at.url, location);
      const brought = userInfoOf(target) ?? undefined;
      target.username = target.password = '';
      if (been.filter((href) => href === target.href).length > 1) break;
      const isHome = at.isHome && target.origin === url.origin;
      at = { url: target, spelling: spellingOf(location), isHome, ...(brought && { brought }) };
    }
    throw new Fault('FailedPrecondition', `${url.host} redirects in a circle, or more than ${maxRedirects} times`);
  }

  /**
   * Again, once, if the connection ended before an answer, or if the answer is odd, which has to be known beforehand. Kept
   * connections do not count: all that there are may have been closed by the moment they are used, by a balancer that forgets who
   * was silent for minutes.
   */
  async #once(endpoint: Endpoint | null, hop: Hop, request: Request): Promise<Response> {
    let again = false;
    for (let kept = 0; ; ) {
      try {
        return await this.#ask(endpoint, hop, request);
      } catch (error) {
        if (request.signal.aborted) throw error;
        const isBroken = error instanceof Interrupted;
        if (isBroken && error.wasKept && kept++ < mostConnections) continue;
        if (again || !(isBroken || error instanceof OddAnswer)) throw error;
        again = true;
      }
    }
  }

  async #ask(endpoint: Endpoint | null, hop: Hop, request: Request): Promise<Response> {
    const { url, spelling = url.pathname + url.search } = hop;
    const { agent, proxy, isProxied, oddAnswers } = await this.#connections.towards(endpoint, url);
    request.signal.throwIfAborted();
    const { promise, resolve, reject } = Promise.withResolvers<Response>();
    const shown = request.authorization?.(hop) ?? null;
    const secret = shown ?? hop.brought;
    const authorization = secret === undefined ? {} : { authorization: secret };
    const proxySecret = proxy && userInfoOf(proxy);
    const send = url.protocol === 'https:' ? httpsRequest : httpRequest;
    const outgoing = send(url, {
      method: request.method ?? 'GET',
      agent,
      signal: request.signal,
      maxHeaderSize: maxHeaderBytes,
      // What Go's clients take, and with them every registry's operator, is taken here: folded headers, a length beside
      // chunks. The connection is the server's own, so that it can deceive nobody but itself.
      insecureHTTPParser: true,
      path: proxy ? url.origin + spelling : spelling,
      headers: {
        'user-agent': version,
        'accept-encoding': 'identity',
        ...endpoint?.headers,
        ...request.headers,
        ...authorization,
        ...(proxySecret === null ? {} : { 'proxy-authorization': proxySecret }),
      },
    });
    let sender = url.host;
    /** Of an answer that was not expected to be odd, when others to the same place may be on their way. */
    const faultOf = (error: unknown): Error => {
      const isUnexpected = isOddAnswer(error) && !oddAnswers && this.#connections.allowOddAnswers(url);
      return isUnexpected ? new OddAnswer(sender, error) : unreachable(sender, error);
    };
    const { silenceMs = Number.POSITIVE_INFINITY } = request;
    const answerMs = Math.min(this.#patience.answerMs, silenceMs);
    // Until it has a connection it waits for one that is free, or for what has a deadline of its own (connect.ts).
    let timer: NodeJS.Timeout | undefined;
    outgoing.once('socket', (socket) => {
      if (!isProxied) sender = withAddress(url.host, socket);
      const silent = () => giveUp(new Silent(`${sender} did not answer within ${answerMs / 1000} s`));
      timer = setTimeout(silent, answerMs);
      // Node's parser, which heard it first, has copied what it wants.
      socket.on('data', letGoWhole);
      outgoing.once('close', () => socket.off('data', letGoWhole));
    });
    outgoing.once('response', (body) => {
      clearTimeout(timer);
      outgoing.once('error', (error) => {
        const fault = faultOf(error);
        if (!body.complete) body.destroy(fault); // else it is what follows, which is nobody's
      });
      const bodySilenceMs = Math.min(this.#patience.progressMs, silenceMs);
      const status = wholeStatuses.includes(body.statusCode ?? 0) ? 200 : (body.statusCode ?? 0);
      resolve({ ...hop, status, headers: body.headers, body, shown, silenceMs: bodySilenceMs, sender });
    });
    const ended = (error: unknown) => {
      clearTimeout(timer);
      reject(request.signal.aborted ? request.signal.reason : error);
    };
    // A request that has no connection yet would tell its end only once it has one.
    const giveUp = (error: unknown) => {
      ended(error);
      outgoing.destroy(error instanceof Error ? error : undefined);
    };
    const leave = () => giveUp(request.signal.reason);
    request.signal.addEventListener('abort', leave, { once: true });
    outgoing.on('error', (error) =>
      ended(isBroken(error) ? new Interrupted(sender, error, outgoing.reusedSocket) : faultOf(error)),
    );
    // Node ends a request whose answer is a switch of protocols, which was not asked for, without an error.
    outgoing.once('close', () => request.signal.removeEventListener('abort', leave));
    outgoing.once('close', () => ended(unreachable(sender, new Error('it ended the connection without an answer'))));
    outgoing.end(request.body);
    return promise;
  }

  /**
   * The body in pieces (pieceBytes); silence for longer than the progress timeout ends it. The time the consumer takes does
   * not count.
   */
  async *chunks({ body, sender, headers, silenceMs }: Response, signal: AbortSignal): AsyncGenerator<Buffer> {
    const message = `${sender} sent nothing for ${silenceMs / 1000} s`;
    const leave = () => body.destroy(signal.reason);
    signal.addEventListener('abort', leave, { once: true });
    try {
      signal.throwIfAborted();
      const silent = () => body.destroy(new Silent(message));
      const pieces = new BodyPieces(body, Number(headers['content-length']), silenceMs, silent);
      for (let piece = await pieces.next(); piece; piece = await pieces.next()) yield piece;
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      throw error instanceof Fault ? error : unreachable(sender, error);
    } finally {
      signal.removeEventListener('abort', leave);
      body.destroy();
    }
  }

  /** The whole body, decoded if its server has encoded it unasked. @throws Fault ResourceExhausted above `limit` bytes. */
  async read(response: Response, limit: number, signal: AbortSignal): Promise<Buffer> {
    const parts: Buffer[] = [];
    let length = 0;
    for await (const chunk of this.chunks(response, signal)) {
      length += chunk.length;
      if (length > limit) {
        throw new Fault(
          'ResourceExhausted',
          `${response.url.host} sent more than ${limit} bytes for ${response.url.pathname}`,
        );
      }
      parts.push(chunk);
    }
    return decoded(Buffer.concat(parts), response.headers['content-encoding'] ?? '', limit);
  }
}

/** What is read of an answer that nobody wants, so that its connection serves the next request: a new one costs more. */
const worthReading = 64 * 1024;
const passOverMs = 1000;

/** Leaves the rest of an answer that nobody wants. `hasBody`: false for that to a HEAD, whatever length it says. */
export function passOver(body: IncomingMessage, hasBody = true): void {
  if (hasBody && !(Number(body.headers['content-length']) <= worthReading)) return void body.destroy();
  const timer = setTimeout(() => body.destroy(), passOverMs);
  body.once('close', () => clearTimeout(timer)).on('error', () => {});
  body.resume();
}

/** The connection ended before an answer: nobody knows whether the server has heard of the request. */
class Interrupted extends Fault {
  /** The connection had served a request before. */
  readonly wasKept: boolean;

  constructor(sender: string, error: unknown, wasKept: boolean) {
    super('Unavailable', cannotTalk(sender, error), { cause: error });
    this.wasKept = wasKept;
  }
}

/** It was sent in a way that has to be known beforehand: now it is, and may be asked for again. */
export class OddAnswer extends Fault {
  constructor(sender: string, error: unknown) {
    super('Unavailable', cannotTalk(sender, error), { cause: error });
  }
}

/** It was there, and said nothing: with more patience it may. */
export class Silent extends Fault {
  constructor(message: string) {
    super('DeadlineExceeded', message);
  }
}

const isBroken = (error: unknown): boolean => !(error instanceof Fault) && isErrno(error, 'ECONNRESET', 'EPIPE');

/**
 * Path and query of a Location as they are written, but for what no request line can hold. What is relative to another path
 * has no spelling of its own.
 */
function spellingOf(location: string): string | undefined {
  const [, path] = /^(?:https?:)?(?:\/\/[^/?#]*)?([/?][^#]*)/i.exec(location) ?? [];
  if (path === undefined) return undefined;
  const clean = path.replace(
    /[^\x21-\x7e]/g,
    (byte) => `%${byte.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`,
  );
  // A query alone is of the path that was asked for; after a host it is of its root.
  if (clean.startsWith('?')) return location.startsWith('?') ? undefined : `/${clean}`;
  return clean;
}

function redirectTarget(from: URL, location: string): URL {
  let target: URL;
  try {
    target = new URL(location, from);
  } catch (error) {
    throw new Fault('FailedPrecondition', `${from.host} redirects to what is no address`, { cause: error });
  }
  const downgrade = from.protocol === 'https:' && target.protocol !== 'https:';
  if (downgrade || !/^https?:$/.test(target.protocol)) {
    throw new Fault(
      'FailedPrecondition',
      `${from.host} redirects from ${from.protocol} to ${target.protocol}//${target.host}`,
    );
  }
  return target;
}

function unreachable(sender: string, error: unknown): Error {
  if (error instanceof Fault) return error;
  return new Fault('Unavailable', cannotTalk(sender, error), { cause: error });
}

const cannotTalk = (sender: string, error: unknown): string => `Cannot talk to ${sender}: ${messageOf(error)}`;

/** A host of several addresses may fail at one. */
function withAddress(host: string, { remoteAddress = '', remotePort = 0 }: Socket): string {
  const address = `${isIPv6(remoteAddress) ? `[${remoteAddress}]` : remoteAddress}:${remotePort}`;
  return remoteAddress === '' || address === host ? host : `${host} (${address})`;
}
