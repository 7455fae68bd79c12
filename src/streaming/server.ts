import { createServer, type IncomingMessage, type Server } from 'node:http';
import { type AddressInfo, isIP, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { createWebSocketStream, type WebSocket, WebSocketServer } from 'ws';
import { parseAddress } from '../base/address.ts';
import { Fault, failedPrecondition, invalidArgument, messageOf } from '../base/fault.ts';
import { log } from '../base/log.ts';
import { endSlow, withoutInterval } from '../base/slow-requests.ts';
import { Forwards } from './forwards.ts';
import { Newcomers } from './newcomers.ts';
import type { StreamRequest } from './requests.ts';
import { commandProtocols, serveSpdyCommand } from './spdy-command.ts';
import { forwardProtocols, serveSpdyForward } from './spdy-forward.ts';
import { Tokens } from './tokens.ts';
import { Unfinished } from './unfinished.ts';
import { commandSubprotocols, serveWebSocketCommand } from './websocket-command.ts';
import { forwardSubprotocols, portsProblem, serveWebSocketForward } from './websocket-forward.ts';

/** Streams at once; every one of them was asked for over CRI. */
const maxStreams = 8192;
const maxHeaderSize = 16 * 1024;
/** As kubelet's library takes: clients of it write pieces of 32 KiB, others a file in one message. */
const maxMessage = 32 * 1024 * 1024;
/** As kubelet's own: a connection on which nothing moved for so long has been forgotten by its client. */
const idleMs = 4 * 3_600_000;
const keepAliveMs = 30_000;
/** How long a client may take to say which stream it came for. */
const requestMs = 5000;
/** SPDY's frames as the messages of a WebSocket. */
const tunnels: readonly string[] = forwardProtocols.map((name) => `SPDY/3.1+${name}`);

/**
 * Connections that wait to be accepted. Who comes while there is no room asks again after 1, 3, 7, ... seconds, behind every stranger
 * who came then; the kernel makes it somaxconn at most (listen(2)), Node's own choice is 511.
 */
const backlog = 65_535;

/** Counts: returns what is to be called at the end of the stream. */
type Began = (kind: StreamRequest['kind']) => () => void;

/** Serves what one-shot URLs stand for, over SPDY/3.1 and WebSocket. It listens on loopback: kubelet is the way to it. */
export class StreamingServer {
  readonly #tokens = new Tokens<StreamRequest>();
  readonly #http: Server;
  readonly #sockets = new WebSocketServer({
    noServer: true,
    perMessageDeflate: false,
    maxPayload: maxMessage,
    clientTracking: false,
    skipUTF8Validation: true, // as kubelet's library: what a channel carries is bytes, whatever the client calls it
  });
  readonly #newcomers = new Newcomers();
  readonly #stays: (socket: Socket) => void;
  readonly #forwards = new Forwards();
  readonly #unfinished = new Unfinished();
  readonly #connections = new Set<Duplex>();
  readonly #host: string;
  readonly #began: Began;

  private constructor(host: string, began: Began) {
    this.#host = host;
    this.#began = began;
    this.#http = createServer({
      maxHeaderSize,
      ...withoutInterval,
      keepAliveTimeout: 1000,
    });
    this.#stays = endSlow(this.#http, requestMs);
    this.#http.on('connection', (socket: Socket) => this.#newcomers.add(socket));
    this.#http.on('request', (_, response) => {
      response.writeHead(404, { connection: 'close' }).end('This server only upgrades connections to one-shot URLs\n');
    });
    this.#sockets.on('headers', (headers, request) => {
      const protocol = choice.get(request);
      if (protocol) headers.push(`Sec-WebSocket-Protocol: ${protocol}`);
    });
    this.#http.on('upgrade', (request, socket, head) => this.#upgrade(request, socket, head));
  }

  /**
   * @param address `127.0.0.1:0`, `[::1]:10010`: an address of this host and a port, 0 for any.
   * @param began is told of each stream for which a client connects.
   * @throws Fault InvalidArgument for what is no such address, FailedPrecondition where it cannot listen.
   */
  static async open(address: string, began: Began = () => () => {}): Promise<StreamingServer> {
    const parsed = parseAddress(address);
    if (!parsed) throw invalidArgument(`The streaming server's address ${JSON.stringify(address)} is none`);
    const { host, port } = parsed;
    const server = new StreamingServer(host, began);
    await new Promise<void>((resolve, reject) => {
      server.#http.once('error', (error) => reject(cannotListen(address, error)));
      server.#http.listen({ host, port, backlog }, () => resolve());
    });
    server.#http.removeAllListeners('error');
    server.#http.on('error', (error) => log.warn({ reason: error.message }, 'The streaming server has a problem'));
    return server;
  }

  /** The URL that does this, once, within a minute. @throws Fault ResourceExhausted */
  url(request: StreamRequest): string {
    if (this.#connections.size >= maxStreams) {
      throw new Fault('ResourceExhausted', `${maxStreams} streams are open: end some of them`);
    }
    const { port } = this.#http.address() as AddressInfo;
    const host = isIP(this.#host) === 6 ? `[${this.#host}]` : this.#host;
    return `http://${host}:${port}/${request.kind}/${this.#tokens.issue(request)}`;
  }

  /** Takes no more connections and ends those that are there. */
  close(): void {
    this.#http.close();
    this.#http.closeAllConnections();
    for (const connection of this.#connections) connection.destroy();
  }

  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    socket.on('error', () => {}); // 'close' follows
    const [, kind = '', token = ''] = /^\/(exec|attach|portforward)\/([\w-]{22})(?:\?|$)/.exec(request.url ?? '') ?? [];
    const wanted = token === '' ? null : this.#tokens.take(token);
    if (wanted?.kind !== kind) {
      refuse(socket, '404 Not Found', 'This URL is unknown, used or expired\n');
      return;
    }
    this.#newcomers.admit(request.socket);
    this.#stays(request.socket);
    request.socket.setKeepAlive(true, keepAliveMs);
    request.socket.setNoDelay(true);
    request.socket.setTimeout(idleMs, () => socket.destroy());
    this.#connections.add(socket);
    const over = this.#began(wanted.kind);
    socket.once('close', () => {
      this.#connections.delete(socket);
      over();
    });
    const counted = wanted.kind === 'portforward' ? this.#forwards.counted(wanted) : wanted;
    this.#serve(request, socket, head, counted).catch((error) => {
      log.warn({ kind, reason: messageOf(error) }, 'A streaming connection failed');
      socket.destroy();
    });
  }

  async #serve(request: IncomingMessage, socket: Duplex, head: Buffer, wanted: StreamRequest): Promise<void> {
    const upgrade = request.headers.upgrade?.toLowerCase();
    if (upgrade === 'websocket') return this.#serveWebSocket(request, socket, head, wanted);
    if (upgrade !== 'spdy/3.1') return refuse(socket, '400 Bad Request', 'Upgrade to SPDY/3.1 or websocket\n');
    const known: readonly string[] = wanted.kind === 'portforward' ? forwardProtocols : commandProtocols;
    const offered = offeredProtocols(request, 'x-stream-protocol-version');
    const protocol = offered.find((name) => known.includes(name));
    if (!protocol) {
      const headers = known.map((name) => `X-Accepted-Stream-Protocol-Versions: ${name}\r\n`).join('');
      return refuse(
        socket,
        '403 Forbidden',
        `None of these protocols is known: ${offered.join(', ').slice(0, 200)}\n`,
        headers,
      );
    }
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: ${protocol}\r\n\r\n`,
    );
    if (head.length > 0) socket.unshift(head);
    if (wanted.kind === 'portforward') await serveSpdyForward(socket, wanted);
    else await serveSpdyCommand(socket, wanted, protocol);
  }

  async #serveWebSocket(request: IncomingMessage, socket: Duplex, head: Buffer, wanted: StreamRequest): Promise<void> {
    const offered = offeredProtocols(request, 'sec-websocket-protocol');
    const known = wanted.kind === 'portforward' ? [...tunnels, ...forwardSubprotocols] : commandSubprotocols;
    const protocol = offered.length === 0 ? '' : offered.find((name) => known.includes(name));
    if (protocol === undefined) {
      const names = known.filter((name) => name !== '').join(', ');
      return refuse(socket, '403 Forbidden', `Offer one of these subprotocols, or none: ${names}\n`);
    }
    const problem = wanted.kind === 'portforward' && !tunnels.includes(protocol) && portsProblem(wanted, protocol);
    if (problem) return refuse(socket, '400 Bad Request', `${problem}\n`);
    // `SPDY/3.1+portforward.k8s.io` is not the token that RFC 6455 asks for, so ws would refuse it: it is left out.
    choice.set(request, protocol);
    delete request.headers['sec-websocket-protocol'];
    const { promise, resolve } = Promise.withResolvers<WebSocket>();
    this.#sockets.handleUpgrade(request, socket, head, resolve);
    const webSocket = await promise;
    this.#unfinished.watch(webSocket, socket);
    if (wanted.kind !== 'portforward') await serveWebSocketCommand(webSocket, wanted, protocol);
    else if (tunnels.includes(protocol)) await serveSpdyForward(createWebSocketStream(webSocket), wanted);
    else await serveWebSocketForward(webSocket, wanted, protocol);
  }
}

/** The subprotocol that was chosen for this request. */
const choice = new WeakMap<IncomingMessage, string>();

const offeredProtocols = ({ headers }: IncomingMessage, name: string): string[] =>
  String(headers[name] ?? '')
    .split(',')
    .map((text) => text.trim())
    .filter((text) => text !== '');

function refuse(socket: Duplex, status: string, text: string, headers = ''): void {
  const head = `HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: ${Buffer.byteLength(text)}\r\n`;
  socket.end(`${head}${headers}\r\n${text}`, () => socket.destroy());
}

const cannotListen = (address: string, error: Error): Fault =>
  failedPrecondition(
    `Cannot listen at ${address} (${error.message}): set streaming.address to one of this host and a free port`,
  );
