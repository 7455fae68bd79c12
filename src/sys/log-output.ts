import { fstatSync } from 'node:fs';
import { loadAddon } from './addon.ts';

type Log = { readonly log: unique symbol };

type LogAddon = {
  logOpen(fd: number, prefix: string): Log;
  logWrite(log: Log, line: string): void;
  logFlush(log: Log, ms: number): boolean;
  logLost(log: Log): number;
};

const addon = loadAddon<LogAddon>();

/** The priorities of syslog(3), by the levels of the log from which on they count. */
const priorities = [
  [50, 3],
  [40, 4],
  [30, 6],
] as const;
const debug = 7;

/** What tells the journal a line's priority, and is taken off by it (sd-daemon(3)). */
const priorityOf = (level: number): string => `<${priorities.find(([from]) => level >= from)?.[1] ?? debug}>`;

/**
 * Where the lines of a log go, and nobody waits: a pipe whose reader stands still, a terminal that is stopped, a hung disk keep
 * up to a megabyte of them waiting in memory; what comes then is lost and counted, and told of in the log once it can be.
 */
export class LogOutput {
  readonly #log: Log;
  readonly #isJournal: boolean;

  /** The descriptor stays the caller's, and open. `journalStream`: the device and inode of the journal's, as $JOURNAL_STREAM has them. */
  constructor(fd: number, journalStream = '') {
    const { dev, ino } = fstatSync(fd, { bigint: true });
    this.#isJournal = journalStream === `${dev}:${ino}`;
    this.#log = addon.logOpen(fd, this.#isJournal ? priorityOf(40) : '');
  }

  /** A line with its newline; levels as of the log. */
  write(line: string, level: number): void {
    addon.logWrite(this.#log, this.#isJournal ? `${priorityOf(level)}${line}` : line);
  }

  /** Holds the whole process up, at most so long, until all is written: for its end. Whether it is. */
  flush(ms: number): boolean {
    return addon.logFlush(this.#log, ms);
  }

  /** Lines that are lost, of all that came. */
  get lost(): number {
    return addon.logLost(this.#log);
  }
}

/** A reader that takes nothing for so long at the end of the process gets no more. */
const patienceMs = 1000;
let output: LogOutput | null = null;

/** Standard error as the daemon's log, from now on and to the end of the process, which waits a second for it at most. */
export function standardError(): LogOutput {
  if (output) return output;
  output = new LogOutput(2, process.env.JOURNAL_STREAM);
  process.once('exit', flushStandardError);
  return output;
}

/** What is still on its way there gets a second. */
export function flushStandardError(): void {
  output?.flush(patienceMs);
}

/** Says it on standard error after all of the daemon's log, if this process has that: false otherwise. For its end. */
export function sayAfterLog(text: string, level: number): boolean {
  output?.write(text, level);
  flushStandardError();
  return output !== null;
}
