import type { WebSocket } from 'ws';
import type { CommandRequest } from './requests.ts';
import { Sizes } from './resize.ts';
import { outcomeOf, statusJson, statusText } from './status.ts';
import { Channels } from './websocket-channels.ts';

type Protocol = {
  readonly base64: boolean;
  /** The error channel has a metav1.Status, always; else text, and nothing after success. */
  readonly json: boolean;
  /** The client can end standard input; else only by leaving. */
  readonly ends: boolean;
};

/** Of remotecommand over WebSocket, the best first; '' is a client that offers none. */
const protocols: Readonly<Record<string, Protocol>> = {
  'v5.channel.k8s.io': { base64: false, json: true, ends: true },
  'v4.channel.k8s.io': { base64: false, json: true, ends: false },
  'v4.base64.channel.k8s.io': { base64: true, json: true, ends: false },
  'channel.k8s.io': { base64: false, json: false, ends: false },
  'base64.channel.k8s.io': { base64: true, json: false, ends: false },
  '': { base64: false, json: false, ends: false },
};
export const commandSubprotocols: readonly string[] = Object.keys(protocols);

const numbers = { stdin: 0, stdout: 1, stderr: 2, error: 3, resize: 4 } as const;
const count = Object.keys(numbers).length;

/** Runs what the request stands for over the channels of a WebSocket; returns when the connection is over. */
export async function serveWebSocketCommand(socket: WebSocket, request: CommandRequest, name: string): Promise<void> {
  const protocol = protocols[name]!;
  const channels = new Channels(socket, protocol, protocol.ends ? count : 0);
  const left = new AbortController();
  channels.closed.then(() => left.abort(new Error('The client left')));
  const sizes = new Sizes();
  channels.listen(numbers.resize, (body) => sizes.push(body));
  const io = {
    stdin: request.stdin ? channels.readable(numbers.stdin) : null,
    stdout: request.stdout ? channels.writable(numbers.stdout) : null,
    stderr: request.stderr ? channels.writable(numbers.stderr) : null,
    onResize: (listener: Parameters<Sizes['listen']>[0]) => sizes.listen(listener),
    left: left.signal,
  };
  // An empty message tells the client that its streams are there.
  const first = request.stdout ? numbers.stdout : request.stderr ? numbers.stderr : numbers.error;
  await channels.send(first, Buffer.alloc(0));
  const outcome = await outcomeOf(request.run(io));
  const text = protocol.json ? statusJson(outcome) : statusText(outcome);
  if (text !== '') await channels.send(numbers.error, Buffer.from(text));
  await channels.end();
}
