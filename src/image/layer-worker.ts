// The entry of a worker thread that unpacks layers. Everything it does with files is synchronous: that is what the
// thread is for. It ends when its parent terminates it.
import '../base/no-code-from-text.ts';
import { parentPort } from 'node:worker_threads';
import { letGoWhole } from '../base/let-go.ts';
import { pieceBytes } from '../base/pieces.ts';
import { unpackFile } from './layer-file.ts';
import { joinLayer } from './layer-join.ts';
import { type FromWorker, type ToWorker, toPlainError } from './layer-protocol.ts';
import { type BlobPieces, type UnpackJob, unpackLayer } from './layer-stream.ts';

const port = parentPort;
if (!port) throw new Error('layer-worker runs as a worker thread only');
const tell = (message: FromWorker, transfer: ArrayBuffer[] = []) => port.postMessage(message, transfer);

/** A sign of life that often, ms, while there is one: a few bytes may become thousands of files on a slow disk. */
const aliveEvery = 1000;

let toldAlive = 0;

function onStep(): void {
  const now = performance.now();
  if (now - toldAlive < aliveEvery) return;
  toldAlive = now;
  tell({ kind: 'alive' });
}

/** The pieces of the job under way, as they arrive. */
class Inbox implements BlobPieces {
  readonly #waiting: Uint8Array<ArrayBuffer>[] = [];
  #state: 'open' | 'ended' | 'aborted' = 'open';
  #wake = Promise.withResolvers<void>();

  push(chunk: Uint8Array<ArrayBuffer>): void {
    this.#waiting.push(chunk);
    this.#wake.resolve();
  }

  close(state: 'ended' | 'aborted'): void {
    this.#state = state;
    this.#wake.resolve();
  }

  /** Also while there is no need of more: one chunk may become thousands of files. */
  throwIfAborted(): void {
    if (this.#state === 'aborted') throw new Error('The unpacking was called off');
  }

  /** Its memory goes back to be filled again, or is freed. */
  taken(piece: Uint8Array<ArrayBuffer>): void {
    const { buffer, byteLength } = piece;
    const memory = byteLength === pieceBytes && buffer.byteLength === pieceBytes ? buffer : null;
    if (!memory) letGoWhole(piece);
    tell({ kind: 'taken', bytes: byteLength, memory }, memory ? [memory] : []);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Buffer> {
    for (;;) {
      this.throwIfAborted();
      const chunk = this.#waiting.shift();
      if (chunk) {
        yield Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
      } else if (this.#state === 'ended') {
        return;
      } else {
        await this.#wake.promise;
        this.#wake = Promise.withResolvers();
      }
    }
  }
}

let inbox = new Inbox();

async function unpack(job: UnpackJob): Promise<void> {
  const source = inbox;
  const onOwnStep = () => {
    source.throwIfAborted();
    onStep();
  };
  const { file } = job;
  const notes = await (file === undefined
    ? unpackLayer(source, job, onOwnStep)
    : unpackFile(source, job, file, onOwnStep));
  tell({ kind: 'done', notes });
}

port.on('message', (message: ToWorker) => {
  switch (message.kind) {
    case 'unpack':
      inbox = new Inbox();
      unpack(message.job).catch((error: unknown) => tell({ kind: 'failed', error: toPlainError(error) }));
      return;
    case 'join':
      try {
        tell({ kind: 'joined', added: joinLayer(message.job, onStep) });
      } catch (error) {
        tell({ kind: 'failed', error: toPlainError(error) });
      }
      return;
    case 'chunk':
      inbox.push(message.data);
      return;
    case 'end':
      inbox.close('ended');
      return;
    case 'abort':
      inbox.close('aborted');
      return;
    default:
      message satisfies never;
  }
});
