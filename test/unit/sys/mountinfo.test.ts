import assert from 'node:assert/strict';
import test from 'node:test';
import { mountOf, parseMountInfo, pointsBelow } from '../../../src/sys/mountinfo.ts';

const text = String.raw`27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard
30 27 0:20 / /srv rw master:3 - tmpfs none rw
31 30 0:21 /sub /srv/a\040b rw,nosuid shared:7 master:2 propagate_from:1 - tmpfs tmp\134fs rw
32 27 0:22 / /srv rw - tmpfs top rw
a line that is none
`;
const mounts = parseMountInfo(text);

test('every field of a line', () => {
  assert.deepEqual(mounts[2], {
    id: 31,
    parent: 30,
    root: '/sub',
    mountPoint: '/srv/a b',
    options: ['rw', 'nosuid'],
    shared: true,
    slave: true,
    type: 'tmpfs',
    source: 'tmp\\fs',
    superOptions: ['rw'],
  });
  assert.equal(mounts.length, 4);
});

const cases: [path: string, source: string][] = [
  ['/', '/dev/vda'],
  ['/srvx', '/dev/vda'],
  ['/srv', 'top'],
  ['/srv/x/y', 'top'],
  ['/srv/a b', 'tmp\\fs'],
  ['/srv/a b/c', 'tmp\\fs'],
];
for (const [path, source] of cases) {
  test(`the mount that holds ${path}`, () => assert.equal(mountOf(path, text)?.source, source));
}

const below: [directory: string, points: string[]][] = [
  ['/srv', ['/srv/a b']],
  ['/srv/a b', []],
  ['/sub', []],
  ['/sr', []],
];
for (const [directory, points] of below) {
  test(`mount points below ${directory}`, () => assert.deepEqual(pointsBelow(text, directory), points));
}

test('mount points below a directory with a blank, the newest first', () => {
  const two = ['/a\\040b/c', '/a\\040b/c/d'].map((point, id) => `${id} 1 0:1 /a\\040b/x ${point} rw - tmpfs none rw`);
  assert.deepEqual(pointsBelow(two.join('\n'), '/a b'), ['/a b/c/d', '/a b/c']);
});
