import type { Duplex } from 'node:stream';
import { type ConnectionOptions, connect } from 'node:tls';
import { withoutBrackets } from '../base/address.ts';
import { within } from '../base/deadline.ts';
import { Fault, messageOf } from '../base/fault.ts';
import { unlessAborted } from '../base/shared-runs.ts';
import { dial } from './dial.ts';
import { openTunnel } from './tunnel.ts';

/** How a server is connected to. */
export type Route = {
  readonly host: string;
  readonly port: number;
  /** How TLS is spoken there; null: it is not. */
  readonly tls: ConnectionOptions | null;
  /** Through which proxy, and how TLS is spoken to one of https; null: straight. */
  readonly proxy: { readonly url: URL; readonly tls: ConnectionOptions | null } | null;
};

type Bounds = {
  /** For all steps together, in milliseconds. */
  readonly ms: number;
  /** Ends whatever is under way. */
  readonly life: AbortSignal;
};

/**
 * Connects: to the server, or to a proxy and through it, by TLS where that is spoken. A proxy is asked for a tunnel where the server
 * speaks TLS; else it is itself what is talked to. Nothing stays open where this fails.
 * @throws Fault Unavailable, DeadlineExceeded that names the step; the reason of `life`.
 */
export async function connectBy({ host, port, tls, proxy }: Route, { ms, life }: Bounds): Promise<Duplex> {
  const begin = performance.now();
  const left = () => Math.max(1, Math.round(ms - (performance.now() - begin)));
  const opened: Duplex[] = [];
  const step = <T>(what: string, work: Promise<T>): Promise<T> => within(left(), what, unlessAborted(work, life));
  const secure = async (below: Duplex, options: ConnectionOptions, whom: string): Promise<Duplex> => {
    const { socket, secured } = handshake(below, options, whom);
    opened.push(socket);
    await step(`The TLS handshake with ${whom}`, secured);
    return socket;
  };
  try {
    const first = proxy ? addressOf(proxy.url) : { host, port };
    const dialled = await dial(first.host, first.port, ms, { signal: life });
    opened.push(dialled);
    let socket: Duplex = dialled;
    const from = `${dialled.remoteAddress} port ${dialled.remotePort}`;
    if (proxy?.tls) socket = await secure(socket, proxy.tls, `the proxy ${first.host} (${from})`);
    if (proxy && tls)
      await step(`Making a tunnel through the proxy ${proxy.url.host}`, openTunnel(socket, proxy.url, { host, port }));
    return tls
      ? await secure(socket, tls, `${host} (${proxy ? `through the proxy ${proxy.url.host}` : from})`)
      : socket;
  } catch (error) {
    for (const socket of opened.reverse()) socket.destroy();
    throw error;
  }
}

function addressOf({ hostname, port, protocol }: URL): { host: string; port: number } {
  return { host: withoutBrackets(hostname), port: Number(port || (protocol === 'https:' ? 443 : 80)) };
}

function handshake(
  below: Duplex,
  options: ConnectionOptions,
  whom: string,
): { socket: Duplex; secured: Promise<void> } {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const socket = connect({ ...options, socket: below } as ConnectionOptions);
  const failed = (error: Error) =>
    reject(new Fault('Unavailable', `Cannot talk TLS to ${whom}: ${tlsWords(error)}`, { cause: error }));
  socket.once('secureConnect', resolve);
  socket.on('error', failed);
  socket.once('close', () => failed(new Error('the connection ended')));
  promise.catch(() => {});
  return { socket, secured: promise };
}

/** Without the advice that Node gives for its own command line. */
function tlsWords(error: Error): string {
  const [words = ''] = messageOf(error).split('; if the root CA is installed locally', 1);
  return /self-signed|unable to (?:get|verify)/.test(words)
    ? `${words}; add its authority to the host's, or as "ca" in hosts.toml`
    : words;
}
