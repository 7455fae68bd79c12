import assert from 'node:assert/strict';
import { test } from 'node:test';
import { lockHolder } from '../../../src/sys/directory-lock.ts';

// As Linux 6.18 writes them: a waiter, a lock of another pid namespace, other kinds and other files.
const locks = `1: POSIX  ADVISORY  WRITE 10 fe:00:77 0 EOF
2: FLOCK  ADVISORY  WRITE 0 fe:00:78 0 EOF
3: FLOCK  ADVISORY  WRITE 11 fe:00:77 0 EOF
3: -> FLOCK  ADVISORY  WRITE 12 fe:00:77 0 EOF
4: FLOCK  ADVISORY  WRITE 13 00:1f:77 0 EOF
5: FLOCK  ADVISORY  READ  14 103:12f:79 0 EOF
`;

const cases: [what: string, dev: number, ino: number, pid: number | undefined][] = [
  ['the holder, not who waits, nor a POSIX lock', 0xfe00, 77, 11],
  ['the same inode of another device', 0x1f, 77, 13],
  ['a device with a large minor number', 0x11032f, 79, 14],
  ['a holder whom this pid namespace does not show', 0xfe00, 78, undefined],
  ['a file without a lock', 0xfe00, 80, undefined],
];
for (const [what, dev, ino, pid] of cases) {
  test(`the holder of a lock: ${what}`, () => assert.equal(lockHolder(locks, dev, ino), pid));
}
