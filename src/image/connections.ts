import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import { isIP } from 'node:net';
import type { Duplex } from 'node:stream';
import { type ConnectionOptions, createSecureContext, type SecureContext } from 'node:tls';
import { withoutBrackets } from '../base/address.ts';
import { Fault } from '../base/fault.ts';
import { connectBy, type Route } from './connect.ts';
import { defaultDialMs, type Endpoint } from './hosts.ts';
import { PlainAnswer } from './plain-answer.ts';
import { proxyFor } from './proxy.ts';
import { hostAuthorities } from './trust.ts';

/** To one host, as a pull may need at once: parts of some layers. */
export const mostConnections = 16;
const agentOptions = { keepAlive: true, maxSockets: mostConnections } as const;

type Connected = (error: Error | null, socket: Duplex) => void;
type Target = { readonly host?: string | null; readonly port?: number | string | null };

type Manner = {
  readonly dialMs: number;
  /** True: answers may be odd; a connection then serves one request. */
  readonly oddAnswers: boolean;
  readonly proxy: Route['proxy'];
  /** Over when the pull is: connections that are still being made end with it. */
  readonly life: AbortSignal;
};

const agentOptionsOf = ({ oddAnswers }: Manner) => ({ ...agentOptions, keepAlive: !oddAnswers });

/** Gives Node's agent what was connected, or why it was not. An agent that has ended would keep it open. */
function handOver(
  { host, port }: Target,
  tls: ConnectionOptions | null,
  { dialMs, oddAnswers, proxy, life }: Manner,
  done: Connected | undefined,
): void {
  const route = { host: host ?? '', port: Number(port), tls, proxy };
  connectBy(route, { ms: dialMs, life }).then(
    (socket) => {
      if (!life.aborted) return done?.(null, oddAnswers ? new PlainAnswer(socket) : socket);
      socket.destroy();
      done?.(life.reason, undefined as never);
    },
    (error) => done?.(error, undefined as never),
  );
}

class PlainAgent extends HttpAgent {
  readonly #manner: Manner;
  constructor(manner: Manner) {
    super(agentOptionsOf(manner));
    this.#manner = manner;
  }
  override createConnection(target: Target, done?: Connected): undefined {
    handOver(target, null, this.#manner, done);
  }
}

class SecureAgent extends HttpsAgent {
  readonly #manner: Manner;
  constructor(manner: Manner, options: ConnectionOptions) {
    super({ ...agentOptionsOf(manner), ...options });
    this.#manner = manner;
  }
  override createConnection(target: ConnectionOptions & Target, done?: Connected): undefined {
    handOver(target, target as ConnectionOptions, this.#manner, done);
  }
}

type Client = { readonly cert: string[]; readonly key: string[] };
const noClient: Client = { cert: [], key: [] };

/** How many are kept: as many as a node has registries with authorities of their own, or nearly. */
const mostContexts = 8;
let kept: { authorities: readonly string[]; contexts: Map<string, SecureContext> } | null = null;

/**
 * Who is trusted, and what is shown: the host's authorities, and an endpoint's beside them. Kept, because to read some 140
 * certificates takes milliseconds and megabytes, of which V8 sees nothing, so that it would let them wait.
 */
function contextOf(authorities: readonly string[], ca: readonly string[], { cert, key }: Client): SecureContext {
  if (kept?.authorities !== authorities) kept = { authorities, contexts: new Map() };
  const { contexts } = kept;
  const name = JSON.stringify([ca, cert, key]);
  const shown = cert.length > 0 ? { cert, key } : {};
  const context = contexts.get(name) ?? createSecureContext({ ca: [...authorities, ...ca], ...shown });
  contexts.delete(name);
  contexts.set(name, context); // behind those that were used before
  for (const oldest of contexts.keys()) if (contexts.size > mostContexts) contexts.delete(oldest);
  return context;
}

/** What an endpoint wants beside the host's authorities, and without them where it trusts anybody. */
async function tlsOptions(endpoint: Endpoint | null): Promise<ConnectionOptions> {
  const authorities = await hostAuthorities();
  const { ca = [], client = [], skipVerify = false } = endpoint?.tls ?? {};
  const shown = { cert: client.map((pair) => pair.cert), key: client.map((pair) => pair.key) };
  return { secureContext: contextOf(authorities, ca, shown), rejectUnauthorized: !skipVerify };
}

/** How a proxy is spoken to: one of https as any server that the host's authorities vouch for. */
async function towards(proxy: URL | null): Promise<Route['proxy']> {
  if (!proxy) return null;
  if (proxy.protocol !== 'https:') return { url: proxy, tls: null };
  const host = withoutBrackets(proxy.hostname);
  const secureContext = contextOf(await hostAuthorities(), [], noClient);
  return { url: proxy, tls: { secureContext, host, ...(isIP(host) ? {} : { servername: host }) } };
}

/** How a request goes out. */
export type Outgoing = {
  readonly agent: HttpAgent | HttpsAgent;
  /** Where it goes to a proxy that is told the whole address. */
  readonly proxy: URL | null;
  /** Through a proxy, told or not. */
  readonly isProxied: boolean;
  /** What comes is put as Node's parser takes it. */
  readonly oddAnswers: boolean;
};

/** Origins whose answers may be odd, each of which is asked again. */
const mostOdd = 100;

/**
 * The kept-alive connections of one pull. Certificates and the dial timeout are those of the endpoint that is asked; null
 * means a place that a redirect led to: it is met with the host's authorities alone.
 */
export class Connections implements Disposable {
  /** By endpoint, not by address: two endpoints at one address may differ in whom they trust. */
  readonly #agents = new Map<Endpoint | null, Map<string, Promise<HttpAgent | HttpsAgent>>>();
  /** Origins whose answers are odd. */
  readonly #odd = new Set<string>();
  readonly #life = new AbortController();

  [Symbol.dispose](): void {
    this.#life.abort(new Fault('Cancelled', 'The pull is over'));
    for (const agents of this.#agents.values())
      for (const agent of agents.values())
        agent.then(
          (made) => made.destroy(),
          () => {},
        );
  }

  /** From now on the answers of this origin are put as Node's parser takes them; false: redirects led to too many such. */
  allowOddAnswers({ origin }: URL): boolean {
    if (this.#odd.size < mostOdd) this.#odd.add(origin);
    return this.#odd.has(origin);
  }

  /** @throws Fault FailedPrecondition if the environment names a proxy that is none. */
  async towards(endpoint: Endpoint | null, url: URL): Promise<Outgoing> {
    const proxy = proxyFor(url, process.env);
    const agents = this.#agents.get(endpoint) ?? new Map<string, Promise<HttpAgent | HttpsAgent>>();
    this.#agents.set(endpoint, agents);
    const oddAnswers = this.#odd.has(url.origin);
    const isSecure = url.protocol === 'https:';
    const key = `${url.protocol} ${proxy?.href ?? ''} ${oddAnswers}`;
    const made = agents.get(key) ?? this.#agent(endpoint, isSecure, proxy, oddAnswers);
    agents.set(key, made);
    return { agent: await made, proxy: isSecure ? null : proxy, isProxied: proxy !== null, oddAnswers };
  }

  async #agent(
    endpoint: Endpoint | null,
    isSecure: boolean,
    proxy: URL | null,
    oddAnswers: boolean,
  ): Promise<HttpAgent | HttpsAgent> {
    const manner: Manner = {
      dialMs: endpoint?.dialTimeoutMs ?? defaultDialMs,
      oddAnswers,
      proxy: await towards(proxy),
      life: this.#life.signal,
    };
    return isSecure ? new SecureAgent(manner, await tlsOptions(endpoint)) : new PlainAgent(manner);
  }
}
