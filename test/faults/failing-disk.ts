// A disk that fails at the n-th call that writes below some folders: in the daemon by a preloaded library, in its shims as
// they are a build of the test's own. For test hosts of their own: /run is theirs.
import { closeSync, openSync, readSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { shared } from '../harness/compile.ts';
import { nativeWith } from './native-build.ts';

const orders = '/run/failing-disk';
const source = join(import.meta.dirname, 'failing-disk.c');
const modes = { off: 0, once: 1, 'from then on': 2 } as const;
/** A page; the layout is that of `struct orders`. */
const page = 4096;
const folderBytes = 200;

export type Order = {
  /** Where; three at most. */
  readonly below: readonly string[];
  readonly error: 'EIO' | 'ENOSPC';
  /** The first call that fails, from 1 on; 0: they are only counted. */
  readonly at: number;
  readonly mode: 'once' | 'from then on';
};

export class FailingDisk implements Disposable {
  readonly #folder: string;
  readonly #library: string;
  readonly #orders: number;

  private constructor(folder: string, library: string) {
    this.#folder = folder;
    this.#library = library;
    writeFileSync(orders, Buffer.alloc(page));
    this.#orders = openSync(orders, 'r+');
  }

  static async make(): Promise<FailingDisk> {
    return new FailingDisk(nativeWith(source), await shared(source));
  }

  /** The daemon's environment. Node would write by io_uring, which no library sees. */
  get env(): Record<string, string> {
    return { LD_PRELOAD: this.#library, UV_USE_IO_URING: '0', BERTH_NATIVE: this.#folder };
  }

  fail({ below, error, at, mode }: Order): void {
    const bytes = Buffer.alloc(20 + 3 * folderBytes);
    bytes.writeUInt32LE(constants.errno[error], 4);
    bytes.writeUInt32LE(at, 8);
    for (const [index, folder] of below.entries()) bytes.write(folder, 20 + index * folderBytes);
    writeSync(this.#orders, bytes, 0, bytes.length, 0);
    bytes.writeUInt32LE(modes[mode], 0);
    writeSync(this.#orders, bytes, 0, 4, 0); // last: now it is true
  }

  heal(): { seen: number; failed: number } {
    writeSync(this.#orders, Buffer.alloc(4), 0, 4, 0);
    const bytes = Buffer.alloc(20);
    readSync(this.#orders, bytes, 0, 20, 0);
    return { seen: bytes.readUInt32LE(12), failed: bytes.readUInt32LE(16) };
  }

  [Symbol.dispose](): void {
    closeSync(this.#orders);
    rmSync(orders);
    rmSync(this.#folder, { recursive: true });
  }
}
