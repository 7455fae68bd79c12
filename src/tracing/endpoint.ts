import { isIP, type Socket } from 'node:net';
import { connect as tlsConnect } from 'node:tls';
import { withoutBrackets } from '../base/address.ts';
import type { Answer } from './queue.ts';

/** What this folder needs of others, handed in: the file that OpenTelemetry is in has no second copy of them. */
export type Outside = {
  /** Connects by TCP, within so many milliseconds. */
  readonly dial: (host: string, port: number, ms: number) => Promise<Socket>;
  /** Whom https is believed, PEM. */
  readonly authorities: () => Promise<readonly string[]>;
};

/** Sends one encoded request, and says what became of it. It never rejects. */
export type Send = (body: Uint8Array, signal: AbortSignal) => Promise<Answer>;

const dialMs = 5000;
/** As much of an answer as is looked at: a few words, or how many spans were refused. */
export const mostOfAnswer = 64 * 1024;

const portOf = ({ port, protocol }: URL): number => Number(port) || (protocol === 'https:' ? 443 : 80);
const hostOf = ({ hostname }: URL): string => withoutBrackets(hostname);

/**
 * A connection to the endpoint, which ends when `signal` aborts. Each request has one of its own: they come seconds apart, and
 * none is ever sent on what the other side has let go.
 */
export async function connectTo(url: URL, outside: Outside, signal: AbortSignal, alpn?: string): Promise<Socket> {
  const secure = url.protocol === 'https:' && {
    ca: [...(await outside.authorities())],
    ALPNProtocols: alpn ? [alpn] : [],
  };
  const socket = await dialled(url, outside, signal);
  const host = hostOf(url);
  const made = secure ? tlsConnect({ socket, host, servername: isIP(host) ? '' : host, ...secure }) : socket;
  const cut = () => made.destroy(tookTooLong());
  signal.addEventListener('abort', cut, { once: true });
  made.once('close', () => signal.removeEventListener('abort', cut));
  return made;
}

const tookTooLong = () => new Error('it took too long');

/** A dial goes on after `signal`; what comes of it then is let go. */
async function dialled(url: URL, { dial }: Outside, signal: AbortSignal): Promise<Socket> {
  const { promise, resolve, reject } = Promise.withResolvers<Socket>();
  const left = () => reject(tookTooLong());
  signal.addEventListener('abort', left, { once: true });
  dial(url.hostname, portOf(url), dialMs).then(
    (socket) => (signal.aborted ? socket.destroy() : resolve(socket)),
    reject,
  );
  try {
    return await promise;
  } finally {
    signal.removeEventListener('abort', left);
  }
}

/** Text of a stranger for our log: short, of one line. */
export const inShort = (text: string): string => text.replaceAll(/[^\x20-\x7e]+/g, ' ').slice(0, 200);
