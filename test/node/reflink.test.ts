// On a file system that can share blocks between files, a copy costs none: one such is made in a file, and mounted in a
// mount namespace of the test's own.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, statfsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { copyTree } from '../../src/sys/places.ts';
import { ownHost } from '../harness/own-host.ts';

await ownHost();

const MiB = 1 << 20;
const fileSize = 64 * MiB;

/** Mounts a new XFS on a folder, from a file on the tmpfs of this namespace. */
function mountXfs(folder: string): void {
  const disk = '/run/disk';
  execFileSync('/bin/truncate', ['-s', '320M', disk]);
  execFileSync('/usr/sbin/mkfs.xfs', ['-q', '-m', 'reflink=1', disk]);
  execFileSync('/bin/mknod', ['/dev/loop-control', 'c', '10', '237']);
  for (let index = 0; index < 64; index++) execFileSync('/bin/mknod', [`/dev/loop${index}`, 'b', '7', `${index}`]);
  mkdirSync(folder);
  execFileSync('/bin/mount', ['-o', 'loop', disk, folder]);
}

function freeBytes(folder: string): number {
  execFileSync('/bin/sync', ['-f', folder]);
  const { bfree, bsize } = statfsSync(folder);
  return bfree * bsize;
}

test('a copy shares its blocks with the original where the file system can', async () => {
  const place = '/run/xfs';
  mountXfs(place);
  const [from, to] = [join(place, 'from'), join(place, 'to')];
  for (const folder of [from, to]) mkdirSync(folder);
  const content = Buffer.alloc(fileSize + 1234, 'berth ');
  const before = freeBytes(place);
  writeFileSync(join(from, 'file'), content);
  const written = freeBytes(place);
  await copyTree(from, to);
  const copied = freeBytes(place);
  assert.ok(before - written >= fileSize, `the original took ${before - written} bytes`);
  assert.ok(written - copied < MiB, `the copy took ${written - copied} bytes`);
  writeFileSync(join(from, 'file'), 'changed');
  assert.ok(readFileSync(join(to, 'file')).equals(content));
});
