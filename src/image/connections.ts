import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import type { Duplex } from 'node:stream';
import { type ConnectionOptions, connect, createSecureContext, type SecureContext } from 'node:tls';
import { within } from '../base/deadline.ts';
import { Fault, messageOf } from '../base/fault.ts';
import { dial } from './dial.ts';
import { defaultDialMs, type Endpoint } from './hosts.ts';
import { OneLength } from './one-length.ts';
import { proxyFor } from './proxy.ts';
import { hostAuthorities } from './trust.ts';

/** As a pull may need at once: parts of some layers, and what they redirect to. */
const agentOptions = { keepAlive: true, maxSockets: 16 } as const;

type Connected = (error: Error | null, socket: Duplex) => void;
type Target = { readonly host?: string | null; readonly port?: number | string | null };

/** Gives Node's agent what was connected, or why it was not. */
function handOver(work: Promise<Duplex>, done: Connected | undefined): void {
  work.then(
    (socket) => done?.(null, socket),
    (error) => done?.(error, undefined as never),
  );
}

const dialled = ({ host, port }: Target, ms: number) => dial(host ?? '', Number(port), ms);

type Manner = {
  readonly dialMs: number;
  /** True: what comes may say its length twice; a connection then serves one request. */
  readonly doubledLength: boolean;
};

const agentOptionsOf = ({ doubledLength }: Manner) => ({ ...agentOptions, keepAlive: !doubledLength });

const heard = async (socket: Promise<Duplex>, { doubledLength }: Manner): Promise<Duplex> =>
  doubledLength ? new OneLength(await socket) : await socket;

class PlainAgent extends HttpAgent {
  readonly #manner: Manner;
  constructor(manner: Manner) {
    super(agentOptionsOf(manner));
    this.#manner = manner;
  }
  override createConnection(target: Target, done?: Connected): undefined {
    handOver(heard(dialled(target, this.#manner.dialMs), this.#manner), done);
  }
}

class SecureAgent extends HttpsAgent {
  readonly #manner: Manner;
  constructor(manner: Manner, options: ConnectionOptions) {
    super({ ...agentOptionsOf(manner), ...options });
    this.#manner = manner;
  }
  override createConnection(target: ConnectionOptions & Target, done?: Connected): undefined {
    handOver(heard(secured(target as ConnectionOptions & Target, this.#manner.dialMs), this.#manner), done);
  }
}

/** Without the advice that Node gives for its own command line. */
function tlsWords(error: Error): string {
  const [words = ''] = messageOf(error).split('; if the root CA is installed locally', 1);
  return /self-signed|unable to (?:get|verify)/.test(words)
    ? `${words}; add its authority to the host's, or as "ca" in hosts.toml`
    : words;
}

async function secured(options: ConnectionOptions & Target, ms: number): Promise<Duplex> {
  const begin = performance.now();
  const socket = await dialled(options, ms);
  const { promise, resolve, reject } = Promise.withResolvers<Duplex>();
  const from = `${socket.remoteAddress} port ${socket.remotePort}`;
  const tls = connect({ ...options, socket } as ConnectionOptions);
  tls.once('secureConnect', () => resolve(tls));
  tls.on('error', (error) =>
    reject(
      new Fault('Unavailable', `Cannot talk TLS to ${options.host} (${from}): ${tlsWords(error)}`, { cause: error }),
    ),
  );
  try {
    return await within(Math.max(1, ms - (performance.now() - begin)), `The TLS handshake with ${from}`, promise);
  } catch (error) {
    tls.destroy();
    throw error;
  }
}

let ofHost: { authorities: readonly string[]; context: SecureContext } | null = null;

/** Made once: to read some 140 certificates takes milliseconds. */
function contextOfHost(authorities: readonly string[]): SecureContext {
  if (ofHost?.authorities !== authorities) {
    ofHost = { authorities, context: createSecureContext({ ca: [...authorities] }) };
  }
  return ofHost.context;
}

/** What an endpoint wants beside the host's authorities, and without them where it trusts anybody. */
async function tlsOptions(endpoint: Endpoint | null): Promise<ConnectionOptions> {
  const authorities = await hostAuthorities();
  const { ca = [], client = [], skipVerify = false } = endpoint?.tls ?? {};
  if (ca.length + client.length === 0) {
    return { secureContext: contextOfHost(authorities), rejectUnauthorized: !skipVerify };
  }
  const cert = client.map((pair) => pair.cert);
  const key = client.map((pair) => pair.key);
  const context = createSecureContext({ ca: [...authorities, ...ca], ...(cert.length > 0 ? { cert, key } : {}) });
  return { secureContext: context, rejectUnauthorized: !skipVerify };
}

/**
 * The kept-alive connections of one pull. Certificates and the dial timeout are those of the endpoint that is asked; null
 * means a place that a redirect led to: it is met with the host's authorities alone.
 */
export class Connections implements Disposable {
  /** By endpoint, not by address: two endpoints at one address may differ in whom they trust. */
  readonly #agents = new Map<Endpoint | null, Map<string, Promise<HttpAgent | HttpsAgent>>>();
  /** Origins that say their answers' length twice. */
  readonly #doubling = new Set<string>();

  [Symbol.dispose](): void {
    for (const agents of this.#agents.values())
      for (const agent of agents.values())
        agent.then(
          (made) => made.destroy(),
          () => {},
        );
  }

  /** From now on the answers of this origin may say their length twice; false if they might already. */
  allowDoubledLength({ origin }: URL): boolean {
    if (this.#doubling.has(origin)) return false;
    this.#doubling.add(origin);
    return true;
  }

  /** @throws Fault FailedPrecondition if the environment names a proxy that is none. */
  async agent(endpoint: Endpoint | null, url: URL): Promise<HttpAgent | HttpsAgent> {
    const proxy = proxyFor(url, process.env);
    const agents = this.#agents.get(endpoint) ?? new Map<string, Promise<HttpAgent | HttpsAgent>>();
    this.#agents.set(endpoint, agents);
    const doubledLength = this.#doubling.has(url.origin);
    const key = `${url.protocol} ${proxy?.href ?? ''} ${doubledLength}`;
    const made = agents.get(key) ?? makeAgent(endpoint, url.protocol === 'https:', proxy, doubledLength);
    agents.set(key, made);
    return made;
  }
}

async function makeAgent(
  endpoint: Endpoint | null,
  isSecure: boolean,
  proxy: URL | null,
  doubledLength: boolean,
): Promise<HttpAgent | HttpsAgent> {
  const manner = { dialMs: endpoint?.dialTimeoutMs ?? defaultDialMs, doubledLength };
  const tls = isSecure ? await tlsOptions(endpoint) : {};
  if (!proxy) return isSecure ? new SecureAgent(manner, tls) : new PlainAgent(manner);
  // Which proxy was decided above; how it is spoken to, Node knows.
  const through = { ...agentOptions, timeout: manner.dialMs }; // of a tunnel that is not made, too
  const proxyEnv = { [isSecure ? 'HTTPS_PROXY' : 'HTTP_PROXY']: proxy.href };
  return isSecure ? new HttpsAgent({ ...through, ...tls, proxyEnv }) : new HttpAgent({ ...through, proxyEnv });
}
