// A server in front of a real registry that can misbehave, and remembers what it was asked.
import { createServer, type IncomingHttpHeaders, type IncomingMessage, request, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { Certificate } from './certificate.ts';
import { listening } from './listening.ts';

export type Asked = { readonly method: string; readonly url: string; readonly headers: IncomingHttpHeaders };
/** Answers a request itself and returns true, or leaves it to the registry. */
export type Misbehave = (
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  proxy: Proxy,
) => boolean | Promise<boolean>;

export type Proxy = AsyncDisposable & {
  readonly host: string;
  readonly asked: Asked[];
  /** How many were made to it. */
  readonly connections: number;
  /** Requests for blobs, in order. */
  blobs(): Asked[];
  /** Passes the request on; `edit` may change or cut the body. */
  forward(incoming: IncomingMessage, outgoing: ServerResponse, edit?: (body: Buffer) => Buffer): Promise<void>;
};

/** Starts a proxy to the registry at `upstream`; with a certificate it speaks https; `port` 0: any that is free. */
export async function startProxy(
  upstream: string,
  misbehave: Misbehave = () => false,
  tls: Certificate | null = null,
  port = 0,
): Promise<Proxy> {
  const asked: Asked[] = [];
  const answer = (incoming: IncomingMessage, outgoing: ServerResponse) => {
    asked.push({ method: incoming.method ?? '', url: incoming.url ?? '', headers: incoming.headers });
    Promise.resolve(misbehave(incoming, outgoing, proxy))
      .then((done) => (done ? undefined : proxy.forward(incoming, outgoing)))
      .catch(() => outgoing.destroy());
  };
  const server = tls
    ? createTlsServer({ ...tls, requestCert: true, rejectUnauthorized: false }, answer)
    : createServer(answer);
  let connections = 0;
  server.on('connection', () => connections++);
  const proxy: Proxy = {
    ...(await listening(server, port)),
    asked,
    get connections() {
      return connections;
    },
    blobs: () => asked.filter(({ url }) => url.includes('/blobs/')),
    forward: (incoming, outgoing, edit) => forward(upstream, incoming, outgoing, edit),
  };
  return proxy;
}

function forward(
  upstream: string,
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  edit: (body: Buffer) => Buffer = (body) => body,
): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const headers = { ...incoming.headers, host: upstream };
  const onward = request(
    `http://${upstream}${incoming.url}`,
    { method: incoming.method, headers, agent: false },
    (answer) => {
      const parts: Buffer[] = [];
      answer.on('data', (part: Buffer) => parts.push(part));
      answer.once('error', reject);
      answer.once('end', () => {
        const body = Buffer.concat(parts);
        const edited = edit(body);
        outgoing.writeHead(answer.statusCode ?? 500, answer.headers);
        // Shorter than announced: the connection breaks, as it does in a real network.
        if (edited.length < body.length) outgoing.write(edited, () => outgoing.destroy());
        else outgoing.end(edited);
        resolve();
      });
    },
  );
  onward.once('error', reject);
  incoming.pipe(onward);
  return promise;
}
