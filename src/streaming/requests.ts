import type { Duplex } from 'node:stream';
import type { ProcessIo } from '../model/process-io.ts';

/** What a URL stands for: decided when it was asked for, done when a client connects. */
export type CommandRequest = {
  readonly kind: 'exec' | 'attach';
  readonly stdin: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
  readonly tty: boolean;
  /** Resolves with the exit code; attach, with 0 when there is no more to come. */
  run(io: ProcessIo): Promise<number>;
};

export type ForwardRequest = {
  readonly kind: 'portforward';
  /** Those that may be asked for; none: any. */
  readonly ports: readonly number[];
  connect(port: number): Promise<Duplex>;
};

export type StreamRequest = CommandRequest | ForwardRequest;
