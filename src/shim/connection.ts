import type { Socket } from 'node:net';
import type { Message, MessageName } from '../../proto/shim.ts';
import { failureKinds } from '../../proto/shim.ts';
import { within } from '../base/deadline.ts';
import type { FaultKind } from '../base/fault.ts';
import { Fault } from '../base/fault.ts';
import { step as timed } from '../base/trace.ts';
import type { Decoded } from './codec.ts';
import { decode, encode, FrameReader } from './codec.ts';
import { errnoName } from './errno.ts';

type Pending = {
  readonly step: string;
  readonly entries: Message<'entry'>[];
  readonly resolve: (reply: Decoded) => void;
  readonly reject: (error: Error) => void;
};

export type ConnectionEvents = {
  onMessage(message: Decoded): void;
  /** Once, when no more can come. */
  onEnd(): void;
};

export type RequestOptions = {
  /** For messages: `start "c1"`. */
  readonly step: string;
  /** Infinity: none. */
  readonly deadlineMs: number;
  /** Told the request's id, for `cancel`. */
  readonly onSent?: (request: number) => void;
};

const kindOfFailure: Record<number, FaultKind> = {
  [failureKinds.invalid]: 'InvalidArgument',
  [failureKinds.notFound]: 'NotFound',
  [failureKinds.exists]: 'AlreadyExists',
  [failureKinds.notRunning]: 'FailedPrecondition',
  [failureKinds.busy]: 'FailedPrecondition',
  [failureKinds.unsupported]: 'Unimplemented',
  [failureKinds.untrue]: 'Internal',
};

const kindOfErrno: Record<string, FaultKind> = {
  ENOENT: 'FailedPrecondition',
  EACCES: 'PermissionDenied',
  EPERM: 'PermissionDenied',
  EEXIST: 'AlreadyExists',
  ENOSPC: 'ResourceExhausted',
  EDQUOT: 'ResourceExhausted',
  EROFS: 'ResourceExhausted',
  EIO: 'ResourceExhausted',
  ENOMEM: 'ResourceExhausted',
  EMFILE: 'ResourceExhausted',
  ENFILE: 'ResourceExhausted',
  EAGAIN: 'ResourceExhausted',
  ETIMEDOUT: 'DeadlineExceeded',
};

/** The shim's refusal as the rest of Berth sees it. */
export function faultOf({ kind, error, step }: Message<'failed'>): Fault {
  const code = errnoName(error);
  const cause = Object.assign(new Error(code), { code, errno: -error });
  return new Fault(kindOfFailure[kind] ?? kindOfErrno[code] ?? 'Internal', `The shim cannot ${step}: ${code}`, {
    cause,
  });
}

/** Requests and their replies over one socket, which keeps the daemon alive only while a reply is awaited. */
export class Connection {
  readonly #socket: Socket;
  readonly #events: ConnectionEvents;
  readonly #frames = new FrameReader();
  readonly #pending = new Map<number, Pending>();
  #lastRequest = 0;
  #reason: Error | null = null;
  /** Resolves when the socket is closed, by whomever. */
  readonly ended: Promise<void>;

  constructor(socket: Socket, events: ConnectionEvents) {
    this.#socket = socket;
    this.#events = events;
    this.ended = new Promise((resolve) => socket.once('close', () => resolve()));
    socket.on('data', (chunk: Buffer) => this.#read(chunk));
    socket.on('error', (error) => this.#end(error));
    socket.on('close', () => this.#end(new Error('the shim closed the connection')));
    socket.unref();
  }

  /**
   * Sends a request and gives its reply, and the `entry` messages before it. Rejects with the shim's Fault, with
   * DeadlineExceeded naming the step, or with Unavailable when the connection ends first.
   */
  request<Name extends MessageName, Reply extends MessageName>(
    name: Name,
    fields: Message<Name>,
    reply: Reply,
    options: RequestOptions,
  ): Promise<{ fields: Message<Reply>; entries: readonly Message<'entry'>[] }> {
    return timed(`shim: ${options.step}`, () => this.#exchange(name, fields, reply, options));
  }

  async #exchange<Name extends MessageName, Reply extends MessageName>(
    name: Name,
    fields: Message<Name>,
    reply: Reply,
    { step, deadlineMs, onSent }: RequestOptions,
  ): Promise<{ fields: Message<Reply>; entries: readonly Message<'entry'>[] }> {
    if (this.#reason) throw lost(step, this.#reason);
    const request = this.#nextRequest();
    const frame = encode(name, request, fields);
    const { promise, resolve, reject } = Promise.withResolvers<Decoded>();
    const entries: Message<'entry'>[] = [];
    this.#pending.set(request, { step, entries, resolve, reject });
    this.#socket.ref();
    this.#socket.write(frame);
    onSent?.(request);
    try {
      const message = await (deadlineMs === Infinity ? promise : within(deadlineMs, `The shim's ${step}`, promise));
      if (message.name === 'failed') throw faultOf(message.fields);
      if (message.name !== reply) throw new Fault('DataLoss', `The shim answered ${step} with ${message.name}`);
      return { fields: message.fields as Message<Reply>, entries };
    } finally {
      this.#pending.delete(request);
      if (this.#pending.size === 0) this.#socket.unref();
    }
  }

  /** Ends the connection; requests in flight are rejected. */
  close(): void {
    this.#end(new Error('the connection was closed'));
  }

  #nextRequest(): number {
    do this.#lastRequest = this.#lastRequest >= 0xffffffff ? 1 : this.#lastRequest + 1;
    while (this.#pending.has(this.#lastRequest));
    return this.#lastRequest;
  }

  #read(chunk: Buffer): void {
    if (this.#reason) return;
    try {
      for (const frame of this.#frames.push(chunk)) {
        const message = decode(frame);
        if (message) this.#dispatch(message);
      }
    } catch (error) {
      this.#end(error as Error);
    }
  }

  #dispatch(message: Decoded): void {
    if (message.request === 0) {
      this.#events.onMessage(message);
      return;
    }
    const pending = this.#pending.get(message.request); // none: its deadline has passed
    if (message.name === 'entry') pending?.entries.push(message.fields);
    else pending?.resolve(message);
  }

  #end(reason: Error): void {
    if (this.#reason) return;
    this.#reason = reason;
    this.#socket.destroy();
    for (const { step, reject } of this.#pending.values()) reject(lost(step, reason));
    this.#events.onEnd();
  }
}

const lost = (step: string, cause: Error): Fault =>
  new Fault('Unavailable', `The shim was lost during ${step}: ${cause.message}`, { cause });
