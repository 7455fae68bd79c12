import assert from 'node:assert/strict';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { bindMount, isMountPoint, mountOverlay, mountTmpfs, unmount } from '../../src/sys/mounts.ts';
import { ownHost } from '../harness/own-host.ts';
import { setPropagation } from '../harness/propagation.ts';

await ownHost();

let root = '';
let target = '';
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'berth-mounts-'));
  target = join(root, 'target');
  mkdirSync(target);
});
afterEach(() => {
  while (isMountPoint(target)) unmount(target, { detach: true });
  assert.ok(!readFileSync('/proc/self/mountinfo', 'utf8').includes(root), 'a mount is left');
  rmSync(root, { recursive: true });
});

const line = () =>
  readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .findLast((text) => text.includes(` ${target} `)) ?? '';

function layers(count: number, parent = 'layers'): string[] {
  return Array.from({ length: count }, (_, i) => {
    const path = join(root, parent, `layer-number-${i}`);
    mkdirSync(path, { recursive: true });
    writeFileSync(join(path, `only-${i}`), String(i));
    writeFileSync(join(path, 'shared'), String(i));
    return path;
  });
}

for (const legacy of [false, true]) {
  const how = legacy ? 'mount(2)' : 'the mount API';
  test(`an overlay of 350 layers by ${how}: top first, writable, without the features that break layers`, () => {
    const lowers = layers(350);
    const upper = join(root, 'upper');
    const work = join(root, 'work');
    mkdirSync(upper);
    mkdirSync(work);
    mountOverlay({ lowers, upper, work, target, nosuid: true, nodev: true, legacy });
    assert.equal(readdirSync(target).length, 351);
    assert.equal(readFileSync(join(target, 'shared'), 'utf8'), '0');
    writeFileSync(join(target, 'shared'), 'new');
    assert.equal(readFileSync(join(upper, 'shared'), 'utf8'), 'new');
    assert.equal(readFileSync(join(lowers[0]!, 'shared'), 'utf8'), '0');
    assert.match(line(), /nosuid,nodev/);
    for (const feature of ['metacopy', 'index']) assert.doesNotMatch(line(), new RegExp(`${feature}=on`));
  });

  test(`an overlay without an upper layer is read-only by ${how}`, () => {
    mountOverlay({ lowers: layers(2), target, legacy });
    assert.throws(() => writeFileSync(join(target, 'shared'), ''), { code: 'EROFS' });
    assert.match(line(), / ro,/);
  });

  test(`layers whose names hold ":" "," and a backslash, or are long, by ${how}`, () => {
    const lowers = layers(3, `a:b,c\\d=${'x'.repeat(200)}/${'y'.repeat(100)}`);
    const upper = join(root, 'up:per,x');
    mkdirSync(upper);
    mkdirSync(`${upper}-work`);
    mountOverlay({ lowers, upper, work: `${upper}-work`, target, legacy });
    assert.equal(readFileSync(join(target, 'only-2'), 'utf8'), '2');
  });
}

test('an overlay that the kernel refuses says why, and a missing layer is named', () => {
  assert.throws(() => mountOverlay({ lowers: layers(1), target }), { code: 'EINVAL' });
  assert.throws(() => mountOverlay({ lowers: ['/nowhere'], target }), { code: 'ENOENT', path: '/nowhere' });
});

test('a bind mount is read-only from the start, its source is not', () => {
  const [source = ''] = layers(1);
  bindMount(source, target, { readonly: true, nosuid: true });
  assert.throws(() => writeFileSync(join(target, 'x'), ''), { code: 'EROFS' });
  writeFileSync(join(source, 'x'), '');
  assert.ok(existsSync(join(target, 'x')));
});

test('a recursive bind mount carries the mounts below it, and makes them read-only too', () => {
  const source = join(root, 'source');
  mkdirSync(join(source, 'below'), { recursive: true });
  bindMount(source, source);
  setPropagation(source, 'shared'); // as all of a host is with systemd
  mountTmpfs(join(source, 'below'), { size: 65536, mode: 0o1777 });
  try {
    assert.equal(statSync(join(source, 'below')).mode & 0o7777, 0o1777);
    bindMount(source, target, { recursive: true, readonly: true });
    assert.throws(() => writeFileSync(join(target, 'below/x'), ''), { code: 'EROFS' });
    unmount(target, { detach: true });
    bindMount(source, target);
    writeFileSync(join(target, 'below/x'), '');
    assert.deepEqual(readdirSync(join(source, 'below')), []);
  } finally {
    unmount(join(source, 'below'));
    unmount(source);
  }
});

test('unmount: nothing there and no such path are success, a busy mount is not, a link is not followed', () => {
  unmount(target);
  unmount(join(target, 'missing'));
  mountTmpfs(target, {});
  const link = join(root, 'link');
  symlinkSync(target, link);
  unmount(link);
  assert.ok(isMountPoint(target));
  const before = process.cwd();
  process.chdir(target);
  try {
    assert.throws(() => unmount(target), { code: 'EBUSY' });
    unmount(target, { detach: true });
  } finally {
    process.chdir(before);
  }
  assert.ok(!isMountPoint(target));
});
