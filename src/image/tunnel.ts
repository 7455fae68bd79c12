import { isIPv6 } from 'node:net';
import type { Duplex } from 'node:stream';
import { Fault, messageOf } from '../base/fault.ts';

/** Of a proxy's answer before the tunnel: what it writes for people to read comes behind that. */
const maxHeadBytes = 64 * 1024;
const endOfHead = /\r?\n\r?\n/;

/**
 * Asks the proxy at the other end of `socket` for a tunnel (RFC 9110, 9.3.6). The socket leads to `host` then; it is the caller's to
 * end, also where this fails or is not waited for.
 * @throws Fault Unavailable if the proxy refuses, hangs up or answers what is no HTTP.
 */
export async function openTunnel(
  socket: Duplex,
  proxy: URL,
  { host, port }: { readonly host: string; readonly port: number },
): Promise<void> {
  const to = `${isIPv6(host) ? `[${host}]` : host}:${port}`;
  const secret = userInfoOf(proxy);
  const answer = answerOf(socket);
  socket.write(
    `CONNECT ${to} HTTP/1.1\r\nHost: ${to}\r\nUser-Agent: berth\r\n${
      secret === null ? '' : `Proxy-Authorization: ${secret}\r\n`
    }\r\n`,
  );
  const why = (words: string) => new Fault('Unavailable', `The proxy ${proxy.host} made no tunnel to ${to}: ${words}`);
  let status: string;
  try {
    status = await answer;
  } catch (error) {
    throw why(messageOf(error));
  }
  const [, code] = /^HTTP\/\d\.\d +(\d{3})(?: |$)/.exec(status) ?? [];
  if (code === undefined) throw why('what it answers is no HTTP');
  if (!code.startsWith('2')) throw why(`it answered ${status.slice(0, 200).replace(/[^\x20-\x7e]/g, '?')}`);
}

/** The status line of the answer, behind any interim ones; what follows its head is left to be read. */
function answerOf(socket: Duplex): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  let text = '';
  const end = (settle: () => void) => {
    for (const [event, listener] of Object.entries(listeners)) socket.off(event, listener);
    settle();
  };
  const fail = (error: Error) => end(() => reject(error));
  const found = (status: string) =>
    end(() => {
      if (text !== '') socket.unshift(Buffer.from(text, 'latin1'));
      resolve(status);
    });
  const take = () => {
    for (let chunk = socket.read(); chunk !== null; chunk = socket.read()) {
      text += (chunk as Buffer).toString('latin1'); // every byte as it is
      for (let head = endOfHead.exec(text); head; head = endOfHead.exec(text)) {
        const [status = ''] = text.split(/\r?\n/, 1);
        text = text.slice(head.index + head[0].length);
        if (!/^HTTP\/\S+ +1\d\d/.test(status)) return found(status);
      }
      if (text.length > maxHeadBytes) return fail(new Error(`it answers more than ${maxHeadBytes} bytes of headers`));
    }
  };
  const hungUp = () => fail(new Error('it ended the connection'));
  const listeners = { readable: take, error: fail, end: hungUp, close: hungUp };
  for (const [event, listener] of Object.entries(listeners)) socket.on(event, listener);
  return promise;
}

/** What is to be shown where an address has a name or a password, as bytes that it has them in; else null. */
export function userInfoOf({ username, password }: URL): string | null {
  if (username === '' && password === '') return null;
  const bytes = `${username}:${password}`.replace(/%([0-9a-f]{2})/gi, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
  return `Basic ${Buffer.from(bytes, 'latin1').toString('base64')}`;
}
