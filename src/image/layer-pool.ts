import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { Fault, messageOf } from '../base/fault.ts';
import { dropPieces, givePiece, pieceBytes, takePiece } from '../base/pieces.ts';
import { step } from '../base/trace.ts';
import { Turns } from '../base/turns.ts';
import { type ChunkSource, type Opened, opened } from './first-bytes.ts';
import type { Joined, JoinJob } from './layer-join.ts';
import { type FromWorker, fromPlainError, type ToWorker } from './layer-protocol.ts';
import type { UnpackJob } from './layer-stream.ts';
import type { LayerNotes } from './layer-writer.ts';

/** Bytes that may be on their way to a worker: enough to keep it busy, too few to fill memory. */
const window = 2 * 1024 * 1024;
const idleMs = 15_000;

/** How many threads there may be when several places send at once: each place gets one, however slow the others are. */
const mostThreads = 16;

/** `origin`: whose layer it works on; empty while it is idle. */
type Slot = { readonly worker: Worker; idle: NodeJS.Timeout | null; origin: string };
type Waiting = { readonly origin: string; readonly give: (slot: Slot) => void };

/**
 * A few worker threads that unpack layers, started as needed and ended when idle. One job each; further jobs wait.
 * A worker that shows no sign of life for `progressMs` is terminated and its job fails.
 *
 * Layers come from registries that may be slow, or worse. Each origin has a few layers under way, a layer takes a thread
 * only once its first bytes are there, and an origin that has none gets one beyond the number: so bytes that trickle from
 * one registry hold up nobody else's.
 */
export class LayerPool implements AsyncDisposable {
  readonly #size: number;
  readonly #progressMs: number;
  readonly #free: Slot[] = [];
  readonly #queue: Waiting[] = [];
  /** Layers that wait for their first bytes. */
  #opening = 0;
  readonly #turns: Turns;
  readonly #slots = new Set<Slot>();

  /** `layers`: how many an origin may have under way, with those that wait for their first bytes or for a thread. */
  constructor(size: number, progressMs: number, layers = size) {
    this.#size = Math.max(1, size);
    this.#turns = new Turns(Math.max(1, layers));
    this.#progressMs = progressMs;
  }

  /**
   * Unpacks a blob of an origin into `job.path`; see unpackLayer for what it throws. `failed` hears of it before the next layer's
   * turn comes: what is learnt of a place counts for that one already.
   */
  async unpack(
    job: UnpackJob,
    open: ChunkSource,
    { origin, failed }: { readonly origin: string; readonly failed?: (error: unknown) => void },
    signal: AbortSignal,
  ): Promise<LayerNotes> {
    const name = job.digest ?? job.diffId;
    using _ = await step(`wait: ${name}, its turn`, () => this.#turns.take(origin, signal));
    await using source = await step(`registry: first bytes of ${name}`, () => this.#opened(open, signal));
    const slot = await step(`wait: ${name}, a thread`, () => this.#acquire(origin, signal));
    try {
      const run = new WorkerRun(slot.worker, this.#progressMs);
      const notes = await step(`unpack: ${name}${job.lowers ? ', in order' : ''}`, () =>
        run.unpack(job, source.rest, signal),
      );
      this.#release(slot);
      return notes;
    } catch (error) {
      failed?.(error);
      this.#afterFailure(slot, error);
      throw error;
    }
  }

  /** A source whose first bytes are here. Threads start meanwhile, for whoever is first to need one. */
  async #opened(open: ChunkSource, signal: AbortSignal): Promise<Opened> {
    this.#opening++;
    while (this.#free.length < this.#opening && this.#slots.size < this.#size) this.#release(this.#start(''));
    try {
      return await opened(open, signal);
    } finally {
      this.#opening--;
    }
  }

  /** Joins an unpacked layer with those below it; see joinLayer. */
  async join(job: JoinJob, origin: string, signal: AbortSignal): Promise<Joined> {
    const slot = await this.#acquire(origin, signal);
    // A join hears nothing until it is done. The run ends when the thread has: nobody writes to the tree after that.
    const leave = () => void this.#end(slot);
    signal.addEventListener('abort', leave, { once: true });
    try {
      const added = await new WorkerRun(slot.worker, this.#progressMs).join(job);
      this.#release(slot);
      return added;
    } catch (error) {
      this.#afterFailure(slot, error);
      throw signal.aborted ? signal.reason : error;
    } finally {
      signal.removeEventListener('abort', leave);
    }
  }

  /** Ends every worker; jobs under way fail. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#slots].map((slot) => this.#end(slot)));
  }

  async #acquire(origin: string, signal: AbortSignal): Promise<Slot> {
    signal.throwIfAborted();
    const free = this.#free.pop();
    if (free) {
      if (free.idle) clearTimeout(free.idle);
      free.idle = null;
      free.worker.ref();
      free.origin = origin;
      return free;
    }
    if (this.#mayStart(origin)) return this.#start(origin);
    const { promise, resolve, reject } = Promise.withResolvers<Slot>();
    const waiting: Waiting = { origin, give: resolve };
    const leave = () => {
      const at = this.#queue.indexOf(waiting);
      if (at >= 0) this.#queue.splice(at, 1);
      reject(signal.reason);
    };
    this.#queue.push(waiting);
    signal.addEventListener('abort', leave, { once: true });
    try {
      return await promise;
    } finally {
      signal.removeEventListener('abort', leave);
    }
  }

  #mayStart(origin: string): boolean {
    if (this.#slots.size < this.#size) return true;
    return this.#slots.size < mostThreads && ![...this.#slots].some((slot) => slot.origin === origin);
  }

  #start(origin: string): Slot {
    const worker = new Worker(workerFile(), {
      name: 'berth-layer',
      resourceLimits: { maxOldGenerationSizeMb: 192, maxYoungGenerationSizeMb: 3 },
    });
    worker.setMaxListeners(0);
    worker.on('error', () => {}); // the run under way hears it too
    const slot: Slot = { worker, idle: null, origin };
    worker.once('exit', () => this.#forget(slot));
    this.#slots.add(slot);
    return slot;
  }

  #release(slot: Slot): void {
    if (!this.#slots.has(slot)) return; // it ended meanwhile, and whoever waits was served then
    const next = this.#queue.shift();
    if (next) {
      slot.origin = next.origin;
      next.give(slot);
      return;
    }
    slot.origin = '';
    slot.worker.unref();
    slot.idle = setTimeout(() => this.#end(slot), idleMs).unref();
    this.#free.push(slot);
  }

  /** A worker that said why it failed is fit for the next job; one that fell silent is not. */
  #afterFailure(slot: Slot, error: unknown): void {
    if (error instanceof WorkerLost || error instanceof WorkerStuck) this.#end(slot).catch(() => {});
    else this.#release(slot);
  }

  async #end(slot: Slot): Promise<void> {
    this.#forget(slot);
    await slot.worker.terminate();
  }

  #forget(slot: Slot): void {
    if (slot.idle) clearTimeout(slot.idle);
    const at = this.#free.indexOf(slot);
    if (at >= 0) this.#free.splice(at, 1);
    if (this.#slots.delete(slot)) this.#serveQueue();
    if (this.#slots.size === 0) dropPieces();
  }

  #serveQueue(): void {
    if (this.#slots.size >= this.#size) return;
    const next = this.#queue.shift();
    next?.give(this.#start(next.origin));
  }
}

class WorkerLost extends Fault {}
class WorkerStuck extends Fault {}

/** One job on one worker. Exported for its test. */
export class WorkerRun {
  readonly #worker: Worker;
  readonly #result = Promise.withResolvers<LayerNotes | Joined>();
  readonly #watchdog: NodeJS.Timeout;
  /** Bytes sent that the worker has not taken over. */
  #outstanding = 0;
  #feeding = false;
  /** The worker has heard of the job. */
  #begun = false;
  #failure: Error | null = null;
  #room = Promise.withResolvers<void>();

  constructor(worker: Worker, progressMs: number) {
    this.#worker = worker;
    this.#result.promise.catch(() => {});
    this.#watchdog = setTimeout(() => {
      if (this.#outstanding <= 0 && this.#feeding) {
        this.#watchdog.refresh(); // the source is what is slow, and has its own deadline
        return;
      }
      const message = `Unpacking a layer made no progress for ${progressMs / 1000} s; is the disk stuck?`;
      this.#fail(new WorkerStuck('DeadlineExceeded', message));
    }, progressMs);
    worker.on('message', this.#hear);
    worker.on('error', this.#lost);
    worker.on('exit', this.#lost);
  }

  async unpack(job: UnpackJob, open: ChunkSource, signal: AbortSignal): Promise<LayerNotes> {
    using _ = this.#scope();
    // The source hears of it too, but may have given everything already.
    const leave = () => {
      if (this.#begun) this.#tell({ kind: 'abort' });
    };
    signal.addEventListener('abort', leave, { once: true });
    try {
      return await this.#feed(job, open, signal);
    } catch (error) {
      if (signal.aborted && !(error instanceof WorkerLost || error instanceof WorkerStuck)) throw signal.reason;
      throw error;
    } finally {
      signal.removeEventListener('abort', leave);
    }
  }

  /** Nobody waits for a thread that still starts while there is nothing to unpack. */
  #begin(job: UnpackJob, signal: AbortSignal): void {
    if (this.#begun) return;
    signal.throwIfAborted();
    this.#begun = true;
    this.#tell({ kind: 'unpack', job });
  }

  async #feed(job: UnpackJob, open: ChunkSource, signal: AbortSignal): Promise<LayerNotes> {
    this.#feeding = true;
    const stop = new AbortController();
    this.#result.promise.catch((error) => stop.abort(error));
    try {
      for await (const data of inMessages(open(AbortSignal.any([signal, stop.signal])))) {
        await this.#roomFor(data.length);
        this.#begin(job, signal);
        this.#tell({ kind: 'chunk', data }, [data.buffer]);
      }
      this.#feeding = false;
      this.#watchdog.refresh();
      this.#begin(job, signal);
      this.#tell({ kind: 'end' });
    } catch (error) {
      if (stop.signal.aborted) throw stop.signal.reason; // the worker failed first, and that is why the source stopped
      if (!this.#begun) throw error;
      this.#feeding = false; // from here on it is the worker's turn
      this.#watchdog.refresh();
      this.#tell({ kind: 'abort' });
      await this.#result.promise.catch((late) => {
        if (late instanceof WorkerLost || late instanceof WorkerStuck) throw late;
      });
      throw error;
    }
    const notes = await this.#result.promise;
    if (!('bytes' in notes)) throw new Error('The layer worker did not say what it unpacked');
    return notes;
  }

  async join(job: JoinJob): Promise<Joined> {
    using _ = this.#scope();
    this.#tell({ kind: 'join', job });
    return await this.#result.promise; // not before: the scope ends with it
  }

  #tell(message: ToWorker, transfer: ArrayBuffer[] = []): void {
    this.#worker.postMessage(message, transfer);
  }

  /** Waits while the window is full. */
  async #roomFor(bytes: number): Promise<void> {
    this.#outstanding += bytes;
    while (this.#outstanding > window) {
      if (this.#failure) throw this.#failure;
      await this.#room.promise;
      this.#room = Promise.withResolvers();
    }
  }

  readonly #hear = (message: FromWorker): void => {
    this.#watchdog.refresh();
    if (message.kind === 'taken') {
      this.#outstanding -= message.bytes;
      if (message.memory) givePiece(message.memory);
      this.#room.resolve();
    } else if (message.kind === 'done') {
      this.#result.resolve(message.notes);
    } else if (message.kind === 'joined') {
      this.#result.resolve(message.added);
    } else if (message.kind === 'failed') {
      this.#fail(fromPlainError(message.error));
    }
  };

  readonly #lost = (reason: unknown): void => {
    const why = reason instanceof Error ? messageOf(reason) : `it exited with ${reason}`;
    const full = reason instanceof Error && 'code' in reason && reason.code === 'ERR_WORKER_OUT_OF_MEMORY';
    this.#fail(
      new WorkerLost(full ? 'ResourceExhausted' : 'Internal', `The thread that unpacks a layer ended: ${why}`),
    );
  };

  #fail(error: Error): void {
    this.#failure = error;
    this.#result.reject(error);
    this.#room.resolve();
  }

  #scope(): Disposable {
    return {
      [Symbol.dispose]: () => {
        clearTimeout(this.#watchdog);
        this.#worker.off('message', this.#hear);
        this.#worker.off('error', this.#lost);
        this.#worker.off('exit', this.#lost);
      },
    };
  }
}

/** Shorter ones are joined: a message costs more than their copy. */
const worthAMessage = 16 * 1024;

/**
 * Messages of their own memory: a transferred buffer must not be a slice of something shared. What has its memory for itself
 * passes as it is.
 */
async function* inMessages(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  let message: Uint8Array<ArrayBuffer> | null = null;
  let used = 0;
  for await (const chunk of source) {
    const isOwn = hasOwnMemory(chunk);
    if (!message && isOwn && chunk.length >= worthAMessage && chunk.length <= pieceBytes) {
      yield chunk;
      continue;
    }
    for (let at = 0; at < chunk.length; ) {
      message ??= takePiece();
      const take = Math.min(chunk.length - at, pieceBytes - used);
      message.set(chunk.subarray(at, at + take), used);
      at += take;
      used += take;
      if (used < pieceBytes) continue;
      yield message;
      message = null;
      used = 0;
    }
    if (isOwn) givePiece(chunk.buffer);
  }
  if (!message) return;
  const last = new Uint8Array(message.subarray(0, used)); // a copy
  givePiece(message.buffer);
  yield last;
}

const hasOwnMemory = (data: Uint8Array): data is Uint8Array<ArrayBuffer> =>
  data.buffer instanceof ArrayBuffer && data.buffer.byteLength === data.length;

/** Beside this file in a checkout, beside the bundle when shipped. */
function workerFile(): URL {
  const url = new URL(import.meta.url.endsWith('.ts') ? './layer-worker.ts' : './layer-worker.cjs', import.meta.url);
  if (!existsSync(url)) throw new Error(`Cannot find ${fileURLToPath(url)}; the installation is incomplete`);
  return url;
}
