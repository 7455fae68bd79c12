import type { Readable, Writable } from 'node:stream';

export type TerminalSize = { readonly columns: number; readonly rows: number };

/** A client's ends of the streams of a process; null: it did not ask for this one. */
export type ProcessIo = {
  readonly stdin: Readable | null;
  readonly stdout: Writable | null;
  readonly stderr: Writable | null;
  /** Calls back with each size that the client's terminal takes, those from before this call first. */
  onResize(listener: (size: TerminalSize) => void): void;
  /** Aborts when the client is gone. */
  readonly left: AbortSignal;
};
