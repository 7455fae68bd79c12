import { execFileSync } from 'node:child_process';
import { closeSync, ftruncateSync, mkdirSync, openSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { cacheFolder } from '../../test/images/paths.ts';

const size = 12 * 2 ** 30;

/**
 * An ext4 file system with a journal, as nodes have, in a sparse file; mounted at `path` until disposed. A scratch
 * machine's own disk may lack the journal: ext4 then searches past every inode freed within minutes, and making files
 * takes the longer the more were removed.
 */
export function scratchDisk(): Disposable & { readonly path: string } {
  const folder = cacheFolder('bench');
  const file = join(folder, `disk-${process.pid}.img`);
  const path = join(folder, `disk-${process.pid}`);
  const fd = openSync(file, 'wx', 0o600);
  ftruncateSync(fd, size);
  closeSync(fd);
  mkdirSync(path);
  execFileSync('/usr/sbin/mkfs.ext4', ['-q', '-F', '-E', 'lazy_itable_init=0,lazy_journal_init=0', file]);
  execFileSync('/usr/bin/mount', ['-o', 'loop', file, path]);
  return {
    path,
    [Symbol.dispose]() {
      execFileSync('/usr/bin/umount', [path]);
      rmSync(path, { recursive: true });
      rmSync(file);
    },
  };
}
