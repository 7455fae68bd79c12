import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { resolveDevices } from '../../../../src/lifecycle/container/devices.ts';
import { Looker } from '../../../../src/shim/index.ts';
import { patienceMs } from '../../../harness/look.ts';

const looker = new Looker(patienceMs);
after(() => looker[Symbol.dispose]());

test('a node keeps its numbers under the path that the request names', async () => {
  const [device] = await resolveDevices(looker, [
    { hostPath: '/dev/null', containerPath: '/dev/nothing', permissions: 'r' },
  ]);
  const { path, type, major, minor, access } = device!;
  assert.deepEqual(
    { path, type, major, minor, access },
    { path: '/dev/nothing', type: 'c', major: 1, minor: 3, access: 'r' },
  );
});

test('a directory stands for the devices below it, under the path that the request names', async () => {
  const devices = await resolveDevices(looker, [{ hostPath: '/dev', containerPath: '/d', permissions: 'rw' }]);
  const zero = devices.find(({ path }) => path === '/d/zero');
  assert.deepEqual([zero?.major, zero?.minor, zero?.access], [1, 5, 'rw']);
  assert.ok(!devices.some(({ path }) => path.startsWith('/d/fd/')), 'links are not followed');
});

test('a path is clean, so that no other node takes its place', async () => {
  const asked = ['/dev//x/../nothing/', ''].map((containerPath) => ({
    ...{ hostPath: '/dev/./null', containerPath, permissions: 'r' },
  }));
  const paths = (await resolveDevices(looker, asked)).map(({ path }) => path);
  assert.deepEqual(paths, ['/dev/nothing', '/dev/null']);
});

for (const hostPath of ['/dev/not-there', '/etc/passwd', '/proc/self/attr', '/proc']) {
  test(`refused: ${hostPath}`, async () => {
    const resolve = () => resolveDevices(looker, [{ hostPath, containerPath: '', permissions: '' }]);
    await assert.rejects(resolve, { kind: 'FailedPrecondition' });
  });
}
