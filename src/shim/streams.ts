import { closeSync, constants, openSync } from 'node:fs';
import type { Message } from '../../proto/shim.ts';
import type { CommandResult } from '../base/command.ts';
import { within } from '../base/deadline.ts';
import { Fault, messageOf } from '../base/fault.ts';
import { DescriptorSocket } from '../sys/sockets.ts';
import { deadline, resultOf, scoreOf } from './client.ts';
import { type Decoded, decode, encode, FrameReader } from './codec.ts';
import { faultOf } from './connection.ts';
import type { AttachSpec, OpenExec, OpenExecSpec, Shim, Stdio } from './types.ts';

/** What the shim may add to the OCI runtime's deadline, and its time for what it does at once. */
const marginMs = 10_000;
/** Requests on a connection of their own, one each: replies need no numbers to be told apart. */
const request = 1;

/**
 * A connection for one request whose reply carries descriptors: those of node's own sockets are lost. It is open as
 * long as something is to come.
 */
class DescriptorChannel {
  readonly #socket: DescriptorSocket;
  readonly #frames = new FrameReader();
  readonly #ready: Decoded[] = [];
  readonly #descriptors: number[] = [];

  /** @throws Error with an errno code if nobody listens in this pod's folder. */
  constructor(podDir: string) {
    // A socket's path has at most 107 bytes; through the folder's descriptor it is always short.
    const folder = openSync(podDir, constants.O_RDONLY | constants.O_DIRECTORY);
    try {
      this.#socket = new DescriptorSocket(`/proc/self/fd/${folder}/shim.sock`);
    } finally {
      closeSync(folder);
    }
  }

  send(frame: Buffer): Promise<void> {
    return this.#socket.send(frame);
  }

  /** The next message that is ours; Unavailable when none can come any more. */
  async next(step: string): Promise<Decoded> {
    for (;;) {
      const message = this.#ready.shift();
      if (message?.name === 'failed') throw faultOf(message.fields);
      if (message) return message;
      const part = await this.#socket.receive();
      if (!part) throw new Fault('Unavailable', `The shim was lost during ${step}`);
      this.#descriptors.push(...part.descriptors);
      for (const frame of this.#frames.push(part.chunk)) {
        const decoded = decode(frame);
        if (decoded?.request === request) this.#ready.push(decoded); // events go to every connection
      }
    }
  }

  /** The descriptors that `opened` tells of: they came with its first byte. */
  take({ input, stdout, stderr }: Message<'opened'>): Stdio {
    const one = (there: boolean) => (there ? (this.#descriptors.shift() ?? null) : null);
    return { input: one(input), stdout: one(stdout), stderr: one(stderr) };
  }

  close(): void {
    this.#socket.close();
    for (const fd of this.#descriptors.splice(0)) closeSync(fd);
  }
}

async function openExec(podDir: string, spec: OpenExecSpec): Promise<OpenExec> {
  const step = `exec of ${spec.argv[0]}`;
  const channel = channelTo(podDir, step);
  try {
    const fields = { ...spec, startDeadlineMs: deadline(spec.startDeadlineMs, step), ...scoreOf(spec) };
    await channel.send(encode('openExec', request, fields));
    const reply = await within(spec.startDeadlineMs + marginMs, `The shim's ${step}`, channel.next(step));
    if (reply.name === 'result') {
      channel.close();
      return { stdio: null, ended: Promise.resolve(resultOf(reply.fields)), abandon: () => {} };
    }
    const stdio = channel.take(openedOf(reply, step));
    return { stdio, ended: result(channel, step), abandon: () => channel.close() };
  } catch (error) {
    channel.close();
    throw error;
  }
}

async function result(channel: DescriptorChannel, step: string): Promise<CommandResult> {
  try {
    const reply = await channel.next(step);
    if (reply.name !== 'result') throw unexpected(reply, step);
    return resultOf(reply.fields);
  } finally {
    channel.close();
  }
}

async function attach(podDir: string, spec: AttachSpec): Promise<Stdio> {
  const step = `attach to ${spec.key}`;
  const channel = channelTo(podDir, step);
  try {
    await channel.send(encode('attach', request, spec));
    return channel.take(openedOf(await within(marginMs, `The shim's ${step}`, channel.next(step)), step));
  } finally {
    channel.close();
  }
}

function channelTo(podDir: string, step: string): DescriptorChannel {
  try {
    return new DescriptorChannel(podDir);
  } catch (error) {
    throw new Fault('Unavailable', `Cannot reach the shim for ${step}: ${messageOf(error)}`, { cause: error });
  }
}

function openedOf(reply: Decoded, step: string): Message<'opened'> {
  if (reply.name !== 'opened') throw unexpected(reply, step);
  return reply.fields;
}

const unexpected = (reply: Decoded, step: string) =>
  new Fault('DataLoss', `The shim answered ${step} with ${reply.name}`);

/** The calls of the shim in this folder that hand descriptors over. */
export const streamCalls = (podDir: string): Pick<Shim, 'openExec' | 'attach'> => ({
  openExec: (spec) => openExec(podDir, spec),
  attach: (spec) => attach(podDir, spec),
});
