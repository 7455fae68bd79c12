import { Fault, isFault } from './fault.ts';

/** What holds a path does not answer, now or as often as it was tried before: nothing is known of what is there. */
export class NoAnswer extends Fault {}

/** Whether a reading failed by who reads or by what holds the path, not by the file: that may be there, and as it should be. */
export const isNoAnswer = (error: unknown): boolean =>
  error instanceof NoAnswer || isFault(error, 'DeadlineExceeded', 'Unavailable');

export type FileKind = 'directory' | 'file' | 'block' | 'character' | 'link' | 'other';

/** What there is to know of a file without opening it. */
export type FileFacts = {
  readonly kind: FileKind;
  /** The permissions. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Of a device. */
  readonly major: number;
  readonly minor: number;
};

/**
 * Reads what others keep on this host, by absolute paths. Any of it may be on a file system that never answers: the daemon has
 * it read by a process that it can leave behind, and what does not answer in time is DeadlineExceeded, which names the path.
 * Errors of the host are those of node:fs.
 */
export type HostFiles = Disposable & {
  /** The whole of a regular file. @throws Fault ResourceExhausted if it has more than `most` bytes, FailedPrecondition for what is none */
  readText(path: string, most: number): Promise<string>;
  /** What is in a folder, sorted, links as such; null if it is not there. @throws Fault ResourceExhausted for more than `most` names */
  list(path: string, most: number): Promise<[name: string, facts: FileFacts][] | null>;
  /** Of what links lead to; null if it is not there. */
  stat(path: string): Promise<FileFacts | null>;
  /** The magic number of the file system that holds it (statfs(2)). */
  fileSystem(path: string): Promise<number>;
};

/** For one call's reading. */
export type OpenHostFiles = () => HostFiles;
