// A disk that fails at the n-th call that writes below some folders: in the daemon by a preloaded library, in its shims as
// they are a build of the test's own. For test hosts of their own: /run is theirs.
import { execFileSync } from 'node:child_process';
import {
  closeSync,
  globSync,
  mkdtempSync,
  openSync,
  readSync,
  rmSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { shared } from '../harness/compile.ts';

const orders = '/run/failing-disk';
const source = join(import.meta.dirname, 'failing-disk.c');
const native = resolve(import.meta.dirname, '../../native');
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
    const folder = mkdtempSync(join(tmpdir(), 'failing-disk-'));
    const sources = [...globSync(join(native, 'shim/*.c')), source];
    const flags = ['-O1', '-D_GNU_SOURCE', `-Wa,-I${join(native, 'build')}`, '-o', join(folder, 'berth-shim')];
    execFileSync('/usr/bin/cc', [...flags, ...sources], { stdio: 'inherit' });
    for (const name of ['addon.node', 'berth-look']) symlinkSync(join(native, 'build', name), join(folder, name));
    return new FailingDisk(folder, await shared(source));
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
