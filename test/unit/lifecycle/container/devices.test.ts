import assert from 'node:assert/strict';
import test from 'node:test';
import { deviceNumber, resolveDevices } from '../../../../src/lifecycle/container/devices.ts';

test('both halves of a device number', () => {
  assert.deepEqual(deviceNumber(0x103n), { major: 1, minor: 3 });
  // makedev(0x123456, 0xabcdef)
  assert.deepEqual(deviceNumber(0x12300abcd456efn), { major: 0x123456, minor: 0xabcdef });
});

test('a node keeps its numbers under the path that the request names', () => {
  const [device] = resolveDevices([{ hostPath: '/dev/null', containerPath: '/dev/nothing', permissions: 'r' }]);
  const { path, type, major, minor, access } = device!;
  assert.deepEqual(
    { path, type, major, minor, access },
    { path: '/dev/nothing', type: 'c', major: 1, minor: 3, access: 'r' },
  );
});

test('a directory stands for the devices below it, under the path that the request names', () => {
  const devices = resolveDevices([{ hostPath: '/dev', containerPath: '/d', permissions: 'rw' }]);
  const zero = devices.find(({ path }) => path === '/d/zero');
  assert.deepEqual([zero?.major, zero?.minor, zero?.access], [1, 5, 'rw']);
  assert.ok(!devices.some(({ path }) => path.startsWith('/d/fd/')), 'links are not followed');
});

for (const hostPath of ['/dev/not-there', '/etc/passwd', '/proc/self/attr', '/proc']) {
  test(`refused: ${hostPath}`, () => {
    const resolve = () => resolveDevices([{ hostPath, containerPath: '', permissions: '' }]);
    assert.throws(resolve, { kind: 'FailedPrecondition' });
  });
}
