import { Socket } from 'node:net';
import { constants } from 'node:os';
import type { Message, MessageName } from '../../proto/shim.ts';
import { Fault, isErrno, messageOf } from '../base/fault.ts';
import { type FileFacts, type FileKind, type HostFiles, NoAnswer } from '../base/host-files.ts';
import { log } from '../base/log.ts';
import { doing } from '../base/trace.ts';
import { nativePath } from '../sys/addon.ts';
import { errnoError } from '../sys/files.ts';
import { type IdMaps, mapLines } from '../sys/idmap.ts';
import { spawnKeeper } from '../sys/keepers.ts';
import { attributesOf, type MountLimits } from '../sys/mounts.ts';
import { type Decoded, decode, encode, FrameReader } from './codec.ts';
import { childGone } from './gone.ts';

/** What a call asked of the looker, for messages: `Looking at`, and at what. */
type Task = { readonly verb: string; readonly path: string };
type Waiting = Task & {
  readonly resolve: (reply: Decoded) => void;
  readonly reject: (error: Error) => void;
};
type Process = { readonly pid: number; readonly socket: Socket };

/** S_IFMT and what it holds (inode(7)). */
const typeMask = 0o170000;
const kindOfType = new Map<number, FileKind>([
  [0o040000, 'directory'],
  [0o100000, 'file'],
  [0o060000, 'block'],
  [0o020000, 'character'],
  [0o120000, 'link'],
]);
const factBytes = 20;
/** Two names of one errno. */
export const unsupported = ['ENOTSUP', 'EOPNOTSUPP'] as const;
/** PATH_MAX, with the NUL. */
const mostPathBytes = 4096;
/** How long a process that was killed may take to end before that is news. */
const endMs = 1000;
/** All looks of a call together have so many times the time of one: who answers slowly would hold its pod up for ever. */
const mostLooks = 6;

/**
 * Looks at paths of the host that a client names. Any of them may be on a file server that never answers, or may be made to
 * hang: so it is a process that touches them, of one call, started when it is first needed. What does not answer in
 * `deadlineMs` ends it: then every call fails with DeadlineExceeded, which names the path. Paths are absolute; errors of the
 * host are those of node:fs, with a `code`.
 */
export class Looker implements HostFiles {
  readonly #deadlineMs: number;
  readonly #what: string;
  readonly #errors: number;
  readonly #frames = new FrameReader();
  readonly #waiting: Waiting[] = [];
  #process: Promise<Process> | null = null;
  #timer: NodeJS.Timeout | undefined;
  #over: Error | null = null;
  /** When the first of those that wait became it; null: nobody waits. */
  #since: number | null = null;
  #spentMs = 0;
  #serial = 0;

  /** `what` it looks at, for the list of processes. `errors`: its standard error, which a process that is left behind keeps. */
  constructor(deadlineMs: number, what = 'host paths', errors = 2) {
    this.#errors = errors;
    this.#deadlineMs = deadlineMs;
    this.#what = what;
  }

  /** The path without links. What cannot be looked at any further, but can be mounted, is no error. */
  async resolve(path: string): Promise<string> {
    return (await this.#ask('lookResolve', { path }, 'lookPath', { verb: 'Looking at', path })).path;
  }

  /** What a symbolic link says; null if there is none. */
  async readLink(path: string): Promise<string | null> {
    const task = { verb: 'Looking at', path };
    const reply = await missing(this.#ask('lookLink', { path }, 'lookPath', task), 'EINVAL', 'ENOENT', 'ENOTDIR');
    return reply?.path ?? null;
  }

  /** Of what links lead to; null if it is not there. */
  async stat(path: string): Promise<FileFacts | null> {
    const reply = this.#ask('lookStat', { path }, 'lookFacts', { verb: 'Looking at', path });
    const facts = await missing(reply, 'ENOENT', 'ENOTDIR');
    return facts && { ...facts, kind: kindOf(facts.mode), mode: facts.mode & 0o777 };
  }

  /** The magic number of the file system that holds the path (statfs(2)). */
  async fileSystem(path: string): Promise<number> {
    return (await this.#ask('lookFileSystem', { path }, 'lookType', { verb: 'Looking at', path })).magic;
  }

  /**
   * What is in a directory, sorted, links as such; null if it is not there. Names that are no UTF-8 are left out.
   * @throws Fault ResourceExhausted for more than `most` names.
   */
  async list(path: string, most: number): Promise<[name: string, facts: FileFacts][] | null> {
    const reply = this.#ask('lookList', { path, most }, 'lookNames', { verb: 'Reading', path });
    // EINVAL is what /proc says of a process that ended.
    const found = await missing(bounded(reply, path, `${most} names`), 'ENOENT', 'ENOTDIR', 'ESRCH', 'EINVAL');
    if (!found) return null;
    const entries = found.names.map((name, index): [string, FileFacts] => [name, factsAt(found.facts, index)]);
    return entries.filter(([name]) => !name.includes('\ufffd')).sort(([a], [b]) => (a < b ? -1 : 1));
  }

  /**
   * The whole of a file. @throws Fault ResourceExhausted if it has more than `most` bytes, FailedPrecondition if it is no
   * regular file: a FIFO or a device is not opened.
   */
  async readText(path: string, most: number): Promise<string> {
    const reply = this.#ask('lookRead', { path, most }, 'lookBytes', { verb: 'Reading', path });
    const { bytes } = await bounded(reply, path, `${most} bytes`);
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString();
  }

  /** Makes a directory, and those above it that are missing, with this mode, whatever the umask. */
  async makePath(path: string, mode: number): Promise<void> {
    await this.#ask('lookMakePath', { path, mode }, 'done', { verb: 'Making', path });
  }

  /**
   * Makes the directories of a relative path below `top`, those that are missing with this mode. Others may write there:
   * ENOTDIR or ELOOP where a link stands for one of them, EINVAL for an empty name, `.` and `..`.
   */
  async makeBelow(top: string, path: string, mode: number): Promise<void> {
    await this.#ask('lookMakeBelow', { top, path, mode }, 'done', { verb: 'Making', path: `${top}/${path}` });
  }

  /**
   * Gives `path` and all below it, mounts included, this value of an extended attribute. No link is followed, not on the way
   * to `path` either: ELOOP. The deadline is for each step of the way.
   */
  async label(path: string, name: string, value: string): Promise<void> {
    await this.#ask('lookLabel', { path, name, value }, 'done', { verb: 'Labelling', path });
  }

  /**
   * Binds `source` on `target`, which is made, with the mounts below it; files of the first mount show the owners that
   * `maps` give them (bindMapped), where there are any, and `limits` hold for all of it. EINVAL, EPERM or `unsupported` from a
   * file system that cannot.
   */
  async bind(source: string, target: string, maps: IdMaps, limits: MountLimits = {}): Promise<void> {
    const owners = { uidMap: mapLines(maps.uids), gidMap: mapLines(maps.gids) };
    const fields = { source, target, ...owners, limits: attributesOf(limits) };
    await this.#ask('lookBind', fields, 'done', { verb: 'Binding', path: source });
  }

  /** Ends it; calls in flight are rejected. */
  [Symbol.dispose](): void {
    if (!this.#over) this.#end(new Fault('Cancelled', 'The call that looked at host paths is over'));
  }

  #ask<Name extends MessageName, Reply extends MessageName>(
    name: Name,
    fields: Message<Name>,
    wanted: Reply,
    task: Task,
  ): Promise<Message<Reply>> {
    return doing(`look: ${task.verb} ${task.path}`, () => this.#exchange(name, fields, wanted, task));
  }

  async #exchange<Name extends MessageName, Reply extends MessageName>(
    name: Name,
    fields: Message<Name>,
    wanted: Reply,
    task: Task,
  ): Promise<Message<Reply>> {
    if (this.#over) throw this.#over;
    if (timesLeftBehind(task.path) >= mostLeftBehind) throw givenUp(task);
    for (const text of Object.values(fields as Record<string, unknown>)) {
      if (typeof text === 'string' && Buffer.byteLength(text) >= mostPathBytes) throw tooLong(task);
    }
    const frame = encode(name, this.#serial++, fields);
    const { promise, resolve, reject } = Promise.withResolvers<Decoded>();
    this.#waiting.push({ ...task, resolve, reject });
    this.#process ??= this.#start();
    this.#process.then(
      ({ socket }) => {
        socket.write(frame);
        if (!this.#timer) this.#expect();
      },
      (error: Error) => this.#end(error),
    );
    const reply = await promise;
    if (reply.name === 'failed') throw errnoError(-reply.fields.error, task.verb, task.path);
    if (reply.name !== wanted) throw new Fault('DataLoss', `The looker answered ${name} with ${reply.name}`);
    return reply.fields as Message<Reply>;
  }

  async #start(): Promise<Process> {
    const { pid, socketFd } = await spawnKeeper(nativePath('berth-look'), this.#what, this.#errors);
    const socket = new Socket({ fd: socketFd });
    socket.on('data', (chunk: Buffer) => this.#read(chunk));
    socket.on('error', () => {}); // `close` follows
    socket.once('close', () => {
      void childGone(pid);
      if (!this.#over) this.#end(new Fault('Unavailable', `The process that looks at host paths ended by itself`));
    });
    this.#expect();
    return { pid, socket };
  }

  #read(chunk: Buffer): void {
    if (this.#over) return;
    try {
      for (const frame of this.#frames.push(chunk)) {
        const reply = decode(frame);
        if (reply?.name === 'lookGoesOn') this.#since = null;
        else if (reply) this.#waiting.shift()?.resolve(reply);
        this.#expect();
      }
    } catch (error) {
      this.#end(new Fault('DataLoss', messageOf(error), { cause: error }));
    }
  }

  /** The time of the first that waits begins: they are answered in their order. */
  #expect(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const now = performance.now();
    if (this.#since !== null) this.#spentMs += now - this.#since;
    const [first] = this.#waiting;
    this.#since = first ? now : null;
    if (!first || this.#over) return;
    const left = mostLooks * this.#deadlineMs - this.#spentMs;
    const fault =
      left < this.#deadlineMs ? slowness(first, mostLooks * this.#deadlineMs) : silence(first, this.#deadlineMs);
    this.#timer = setTimeout(() => this.#end(fault), Math.min(left, this.#deadlineMs));
  }

  #end(reason: Error): void {
    clearTimeout(this.#timer);
    this.#over = reason;
    const [first] = this.#waiting;
    for (const { reject } of this.#waiting.splice(0)) reject(reason);
    this.#process?.then(
      (started) => end(started, first),
      () => {}, // it did not start
    );
  }
}

/** Processes that the kernel does not let go, by pid, and what they looked at. */
const leftBehind = new Map<number, string>();
/** A client asks again and again: beyond this, a path that keeps its processes for ever gets no more of them. */
const mostLeftBehind = 4;

/** What they looked at. */
export const pathsLeftBehind = (): string[] => [...leftBehind.values()];

const timesLeftBehind = (path: string): number => [...leftBehind.values()].filter((each) => each === path).length;

/** Until it is reaped, its pid is no stranger's. What the kernel does not let go is left to itself, and told. */
function end({ pid, socket }: Process, task: Task | undefined): void {
  if (!task) return void socket.end(); // it has nothing to do, and ends with its connection
  if (socket.closed) return;
  process.kill(pid, 'SIGKILL');
  socket.unref();
  const late = setTimeout(() => {
    leftBehind.set(pid, task.path);
    log.warn(
      { pid, path: task.path },
      'A process that looked at a host path is stuck in the kernel; it is left behind',
    );
  }, endMs);
  late.unref();
  socket.once('close', () => {
    clearTimeout(late);
    leftBehind.delete(pid);
  });
}

const kindOf = (mode: number): FileKind => kindOfType.get(mode & typeMask) ?? 'other';

function factsAt(bytes: Uint8Array, index: number): FileFacts {
  const view = new DataView(bytes.buffer, bytes.byteOffset + index * factBytes, factBytes);
  const number = (nth: number) => view.getUint32(4 * nth, true);
  const mode = number(0);
  const device = { major: number(3), minor: number(4) };
  return { kind: kindOf(mode), mode: mode & 0o777, uid: number(1), gid: number(2), ...device };
}

const silence = ({ verb, path }: Task, ms: number): Fault =>
  new NoAnswer(
    'DeadlineExceeded',
    `${verb} host path ${JSON.stringify(path)} did not finish in ${ms / 1000} s: is the file server that holds it alive?`,
  );

const givenUp = ({ verb, path }: Task): Fault =>
  new NoAnswer(
    'ResourceExhausted',
    `${verb} host path ${JSON.stringify(path)}: ${mostLeftBehind} processes that tried are stuck in the kernel; unmount what holds it`,
  );

const slowness = ({ verb, path }: Task, ms: number): Fault =>
  new NoAnswer(
    'DeadlineExceeded',
    `${verb} host paths did not finish in ${ms / 1000} s together; the last is ${JSON.stringify(path)}: is the file server that holds it alive?`,
  );

/** Null where the error says that there is nothing. */
async function missing<T>(reply: Promise<T>, ...codes: string[]): Promise<T | null> {
  try {
    return await reply;
  } catch (error) {
    if (isErrno(error, ...codes)) return null;
    throw error;
  }
}

async function bounded<T>(reply: Promise<T>, path: string, most: string): Promise<T> {
  try {
    return await reply;
  } catch (error) {
    if (isErrno(error, 'EFBIG')) throw new Fault('ResourceExhausted', `${path} has more than ${most}`);
    if (isErrno(error, ...unsupported)) throw new Fault('FailedPrecondition', `${path} is no regular file`);
    throw error;
  }
}

const tooLong = ({ verb, path }: Task): Error =>
  errnoError(-constants.errno.ENAMETOOLONG, verb, `${path.slice(0, 200)}...`);
