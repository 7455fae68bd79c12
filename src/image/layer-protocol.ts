import { Fault, type FaultKind, messageOf } from '../base/fault.ts';
import type { Joined, JoinJob } from './layer-join.ts';
import type { UnpackJob } from './layer-stream.ts';
import type { LayerNotes } from './layer-writer.ts';

/** To a worker. It does one job at a time; chunks, end and abort belong to the one under way. */
export type ToWorker =
  | { readonly kind: 'unpack'; readonly job: UnpackJob }
  | { readonly kind: 'join'; readonly job: JoinJob }
  | { readonly kind: 'chunk'; readonly data: Uint8Array<ArrayBuffer> }
  | { readonly kind: 'end' }
  | { readonly kind: 'abort' };

/** From a worker: bytes it took over (with their memory, to be filled again), a sign of life during long work, and how the job ended. */
export type FromWorker =
  | { readonly kind: 'taken'; readonly bytes: number; readonly memory: ArrayBuffer | null }
  | { readonly kind: 'alive' }
  | { readonly kind: 'done'; readonly notes: LayerNotes }
  | { readonly kind: 'joined'; readonly added: Joined }
  | { readonly kind: 'failed'; readonly error: PlainError };

/** An error as it crosses between threads: a Fault's class would not survive. */
type PlainError = { readonly fault: FaultKind | null; readonly message: string; readonly code: string | null };

export const toPlainError = (error: unknown): PlainError => ({
  fault: error instanceof Fault ? error.kind : null,
  message: messageOf(error),
  code: error instanceof Error && 'code' in error ? String(error.code) : null,
});

export function fromPlainError({ fault, message, code }: PlainError): Error {
  const error = fault ? new Fault(fault, message) : new Error(message);
  return Object.assign(error, code === null ? {} : { code });
}
