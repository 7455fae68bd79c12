import { lastBytes } from './text.ts';

/** A program to run to its end: what the shim's `run` takes, and what `sys/spawn.ts` takes where there is no pod. */
export type Command = {
  /** Absolute path of the program, then its arguments. */
  readonly argv: readonly string[];
  /** The whole environment, `NAME=value`. */
  readonly env: readonly string[];
  readonly cwd: string;
  readonly stdin?: Uint8Array;
  /** Milliseconds; then the program and everything it started is killed. */
  readonly deadlineMs: number;
  /** Bytes kept of each stream, a shim keeps 1 MiB if not told and 16 MiB at most; the rest is read and dropped. */
  readonly maxOutput?: number;
};

/** Where programs are looked up by name: what OCI runtimes and CNI plugins are given, and containers whose image names none. */
export const usualPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

export type CommandResult = {
  /** 128 + signal when a signal ended it. */
  readonly code: number;
  readonly signal: number;
  readonly stdout: Buffer;
  readonly stderr: Buffer;
  /** One of the streams had more than was kept. */
  readonly truncated: boolean;
  /** It was killed at its deadline. */
  readonly timedOut: boolean;
};

export type RunCommand = (command: Command, signal?: AbortSignal) => Promise<CommandResult>;

const maxErrorText = 4096;

/** The text of a program's output for an error message: no control characters, at most 4 KiB, the end of it. */
export const errorText = (output: Buffer | string): string =>
  lastBytes(output, maxErrorText)
    .trim()
    .replace(/[\x00-\x08\x0b-\x1f\x7f]/g, ' ');
