import { execFileSync } from 'node:child_process';
import { closeSync, ftruncateSync, mkdirSync, openSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { isErrno } from '../../src/base/fault.ts';

/** A small disk of its own on `folder`, and how to fill it: to the last byte, or to the last inode. */
export class SmallDisk {
  readonly folder: string;
  readonly of: 'bytes' | 'inodes';
  #files = 0;

  constructor(folder: string, of: 'bytes' | 'inodes') {
    this.folder = folder;
    this.of = of;
    mkdirSync(folder, { recursive: true });
    execFileSync('/bin/mount', ['-t', 'tmpfs', '-o', 'size=96M,nr_inodes=8k,mode=711', 'small-disk', folder]);
  }

  get #filler(): string {
    return join(this.folder, 'filler');
  }

  /** `spare`: so many bytes stay free. They are taken by whole pages. */
  fill(spare = 0): void {
    if (this.of === 'bytes') this.#fillBytes(spare);
    else this.#fillInodes();
  }

  #fillInodes(): void {
    mkdirSync(this.#filler, { recursive: true });
    try {
      for (;;) closeSync(openSync(join(this.#filler, `${this.#files++}`), 'w'));
    } catch (error) {
      if (!isErrno(error, 'ENOSPC')) throw error;
    }
  }

  #fillBytes(spare: number): void {
    const file = openSync(this.#filler, 'a');
    let filled = 0;
    for (let size = 1 << 20; size > 0; ) {
      try {
        filled += writeSync(file, Buffer.alloc(size, 1));
      } catch (error) {
        if (!isErrno(error, 'ENOSPC')) throw error;
        size >>= 1;
      }
    }
    if (spare > 0) ftruncateSync(file, Math.max(0, filled - spare));
    closeSync(file);
  }

  free(): void {
    rmSync(this.#filler, { recursive: true, force: true });
  }

  [Symbol.dispose](): void {
    execFileSync('/bin/umount', ['-l', this.folder]);
  }
}
