import { connect, isIPv6, type Socket } from 'node:net';
import { withoutBrackets } from '../base/address.ts';
import { within } from '../base/deadline.ts';
import { Fault, messageOf } from '../base/fault.ts';
import { unlessAborted } from '../base/shared-runs.ts';
import { lookup } from '../sys/lookup.ts';

/** How long an address is alone in being tried (RFC 8305, 8: Connection Attempt Delay). */
const headStartMs = 250;

export type DialOptions = {
  /** Ends it, with its reason. */
  readonly signal?: AbortSignal;
  readonly addressesOf?: (name: string) => Promise<readonly string[]>;
};

const forever = new AbortController().signal;

/**
 * Connects by TCP as browsers do (RFC 8305): the addresses of a name are tried one after the other, IPv6 and IPv4 in turn,
 * each a quarter of a second after the one before or when that failed; the first to connect is taken, and none is given up
 * for the next one's sake.
 * @throws Fault Unavailable with each address, its port and what came of it.
 */
export async function dial(
  host: string,
  port: number,
  ms: number,
  { signal = forever, addressesOf = lookup }: DialOptions = {},
): Promise<Socket> {
  const name = withoutBrackets(host);
  const begin = performance.now();
  signal.throwIfAborted();
  const found = within(ms, `Looking up ${name}`, addressesOf(name));
  const addresses = inTurn(await unlessAborted(found, signal));
  return firstOf(addresses, { name, port, ms: Math.max(1, ms - (performance.now() - begin)), wholeMs: ms, signal });
}

/** Families in turn, beginning with the one that the resolver has first. */
export function inTurn(addresses: readonly string[]): string[] {
  const isFirst = (address: string) => isIPv6(address) === isIPv6(addresses[0] ?? '');
  const [first, second] = [addresses.filter(isFirst), addresses.filter((address) => !isFirst(address))];
  const longest = Math.max(first.length, second.length);
  return Array.from({ length: longest }, (_, i) => [first[i], second[i]])
    .flat()
    .filter((address) => address !== undefined);
}

type Target = {
  readonly name: string;
  readonly port: number;
  readonly ms: number;
  readonly wholeMs: number;
  readonly signal: AbortSignal;
};

function firstOf(addresses: readonly string[], { name, port, ms, wholeMs, signal }: Target): Promise<Socket> {
  const { promise, resolve, reject } = Promise.withResolvers<Socket>();
  const waiting = [...addresses];
  const trying = new Map<Socket, string>();
  const failures: string[] = [];
  let next: NodeJS.Timeout | undefined;
  const end = () => {
    clearTimeout(next);
    clearTimeout(deadline);
    signal.removeEventListener('abort', leave);
    for (const socket of trying.keys()) socket.destroy();
  };
  const leave = () => {
    end();
    reject(signal.reason);
  };
  signal.addEventListener('abort', leave, { once: true });
  const fail = () => {
    end();
    reject(new Fault('Unavailable', `Cannot connect to ${name}: ${failures.join('; ') || 'it has no address'}`));
  };
  const deadline = setTimeout(() => {
    for (const address of trying.values())
      failures.push(`${shown(address, port)} did not answer within ${wholeMs / 1000} s`);
    fail();
  }, ms);
  const attempt = () => {
    clearTimeout(next);
    const address = waiting.shift();
    if (address === undefined) return trying.size === 0 ? fail() : undefined;
    const socket = connect({ host: address, port });
    trying.set(socket, address);
    socket.once('connect', () => {
      trying.delete(socket);
      end();
      resolve(socket);
    });
    socket.on('error', (error) => {
      // Later errors are the new owner's, who listens too.
      if (!trying.delete(socket)) return;
      failures.push(`${shown(address, port)}: ${messageOf(error)}`);
      attempt();
    });
    if (waiting.length > 0) next = setTimeout(attempt, headStartMs);
  };
  attempt();
  return promise;
}

const shown = (address: string, port: number): string => `${isIPv6(address) ? `[${address}]` : address}:${port}`;
