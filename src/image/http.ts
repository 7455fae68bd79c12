import { Agent as HttpAgent, request as httpRequest, type IncomingMessage, type OutgoingHttpHeaders } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { Fault, messageOf } from '../base/fault.ts';
import { type Endpoint, isLoopback } from './hosts.ts';

export type Request = {
  readonly method?: 'GET' | 'HEAD' | 'POST';
  readonly headers?: OutgoingHttpHeaders;
  readonly body?: string;
  /** The Authorization header for each place on the way; null: none. Absent: none anywhere. */
  readonly authorization?: (hop: Hop) => string | null;
  readonly signal: AbortSignal;
};

/** Where a request, or what a redirect made of it, goes. */
export type Hop = {
  readonly url: URL;
  /** False once a redirect led to another origin, even if a later one leads back: others chose what is asked there. */
  readonly isHome: boolean;
};

/** A response whose body was not read: read it or destroy it. */
export type Response = Hop & {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly body: IncomingMessage;
  /** The Authorization header that was shown for it. */
  readonly shown: string | null;
};

const maxRedirects = 5;
const maxHeaderBytes = 32 * 1024;
const version = 'berth';

/**
 * Connections of one pull. Certificates and the dial timeout are those of the endpoint that is asked; what a redirect
 * leads to elsewhere is met with the system's certificates alone.
 */
export class HttpClient implements Disposable {
  readonly #progressMs: number;
  /** By endpoint, not by address: two endpoints at one address may differ in whom they trust. */
  readonly #agents = new Map<Endpoint | null, Map<string, HttpAgent | HttpsAgent>>();

  constructor(progressMs: number) {
    this.#progressMs = progressMs;
  }

  [Symbol.dispose](): void {
    for (const agents of this.#agents.values()) for (const agent of agents.values()) agent.destroy();
  }

  /**
   * Sends a request and follows redirects. Only the first host sees the endpoint's headers and client certificate; a
   * redirect never goes from https to http.
   * @throws Fault Unavailable (unreachable), DeadlineExceeded (silent), FailedPrecondition (redirects).
   */
  async send(endpoint: Endpoint | null, url: URL, request: Request): Promise<Response> {
    let at: Hop = { url, isHome: true };
    for (let hops = 0; hops <= maxRedirects; hops++) {
      const response = await this.#once(at.isHome ? endpoint : null, at, request);
      const { location } = response.headers;
      if (![301, 302, 303, 307, 308].includes(response.status) || !location || request.method === 'POST')
        return response;
      response.body.destroy();
      const target = redirectTarget(at.url, location);
      at = { url: target, isHome: at.isHome && target.origin === url.origin };
    }
    throw new Fault('FailedPrecondition', `${url.host} redirects more than ${maxRedirects} times`);
  }

  #once(endpoint: Endpoint | null, hop: Hop, request: Request): Promise<Response> {
    const { promise, resolve, reject } = Promise.withResolvers<Response>();
    const { url } = hop;
    const shown = request.authorization?.(hop) ?? null;
    const authorization = shown === null ? {} : { authorization: shown };
    const send = url.protocol === 'https:' ? httpsRequest : httpRequest;
    const outgoing = send(url, {
      method: request.method ?? 'GET',
      agent: this.#agent(endpoint, url),
      signal: request.signal,
      maxHeaderSize: maxHeaderBytes,
      headers: { 'user-agent': version, ...endpoint?.headers, ...request.headers, ...authorization },
    });
    const silent = (what: string, ms: number) =>
      outgoing.destroy(new Fault('DeadlineExceeded', `${url.host} did not ${what} within ${ms / 1000} s`));
    const dialMs = endpoint?.dialTimeoutMs ?? 30_000;
    let timer = setTimeout(() => silent('accept a connection', dialMs), dialMs);
    outgoing.once('socket', (socket) => {
      const connected = () => {
        clearTimeout(timer);
        timer = setTimeout(() => silent('answer', this.#progressMs), this.#progressMs);
      };
      if (socket.connecting) socket.once(url.protocol === 'https:' ? 'secureConnect' : 'connect', connected);
      else connected();
    });
    outgoing.once('response', (body) => {
      clearTimeout(timer);
      resolve({ ...hop, status: body.statusCode ?? 0, headers: body.headers, body, shown });
    });
    const ended = (error: unknown) => {
      clearTimeout(timer);
      reject(request.signal.aborted ? request.signal.reason : unreachable(url, error));
    };
    outgoing.on('error', ended);
    // Node ends a request whose answer is a switch of protocols, which was not asked for, without an error.
    outgoing.once('close', () => ended(new Error('it ended the connection without an answer')));
    outgoing.end(request.body);
    return promise;
  }

  #agent(endpoint: Endpoint | null, url: URL): HttpAgent | HttpsAgent {
    const agents = this.#agents.get(endpoint) ?? new Map<string, HttpAgent | HttpsAgent>();
    this.#agents.set(endpoint, agents);
    const key = `${url.protocol} ${isLoopback(url.hostname)}`;
    const existing = agents.get(key);
    if (existing) return existing;
    // HTTPS_PROXY, HTTP_PROXY and NO_PROXY; what is on this host is reached directly whatever they say, as Go programs do.
    const proxyEnv = isLoopback(url.hostname) ? {} : process.env;
    const options = { keepAlive: true, maxSockets: 16, proxyEnv };
    const tls = endpoint?.tls;
    const agent =
      url.protocol === 'http:'
        ? new HttpAgent(options)
        : new HttpsAgent({
            ...options,
            ...(tls && tls.ca.length > 0 ? { ca: [...tls.ca] } : {}),
            ...(tls && tls.client.length > 0
              ? { cert: tls.client.map(({ cert }) => cert), key: tls.client.map(({ key }) => key) }
              : {}),
            rejectUnauthorized: !tls?.skipVerify,
          });
    agents.set(key, agent);
    return agent;
  }

  /** The body's chunks; silence for longer than the progress timeout ends it. The time the consumer takes does not count. */
  async *chunks({ body, url }: Response, signal: AbortSignal): AsyncGenerator<Buffer> {
    const message = `${url.host} sent nothing for ${this.#progressMs / 1000} s`;
    const iterator = body[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
    const leave = () => body.destroy(signal.reason);
    signal.addEventListener('abort', leave, { once: true });
    try {
      for (;;) {
        const timer = setTimeout(() => body.destroy(new Fault('DeadlineExceeded', message)), this.#progressMs);
        const { value, done } = await iterator.next().finally(() => clearTimeout(timer));
        if (done) return;
        yield value;
      }
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      throw error instanceof Fault ? error : unreachable(url, error);
    } finally {
      signal.removeEventListener('abort', leave);
      body.destroy();
    }
  }

  /** The whole body. @throws Fault ResourceExhausted above `limit` bytes. */
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
    return Buffer.concat(parts);
  }
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
  target.username = target.password = '';
  return target;
}

function unreachable(url: URL, error: unknown): Error {
  if (error instanceof Fault) return error;
  return new Fault('Unavailable', `Cannot talk to ${url.host}: ${messageOf(error)}`, { cause: error });
}
