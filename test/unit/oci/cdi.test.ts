import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isCdiName, parseCdiSpec } from '../../../src/oci/index.ts';

const spec = (more: object = {}, edits: object = {}) => ({
  cdiVersion: '0.6.0',
  kind: 'vendor.com/gpu',
  devices: [{ name: '0', containerEdits: edits }],
  ...more,
});

test('what is absent is empty', () => {
  const { kind, edits, devices } = parseCdiSpec(spec());
  const none = { env: [], nodes: [], mounts: [], hooks: {}, additionalGids: [] };
  assert.deepEqual([kind, edits, [...devices]], ['vendor.com/gpu', none, [['0', none]]]);
});

test('names are known in every case, and what is null is not there', () => {
  const { devices } = parseCdiSpec(
    spec(
      { Annotations: { a: 'b' } },
      { additionalGIDs: [7], devicenodes: [{ Path: '/dev/x', fileMode: null }], intelRdt: null },
    ),
  );
  const { additionalGids, nodes } = devices.get('0')!;
  assert.deepEqual([additionalGids, nodes.map(({ path }) => path)], [[7], ['/dev/x']]);
});

test('mounts bind unless they say otherwise, nodes take what they leave open from the host', () => {
  const { devices } = parseCdiSpec(
    spec(
      {},
      {
        mounts: [
          { hostPath: '/a', containerPath: '/b', options: ['ro'] },
          { hostPath: 'none', containerPath: '/t', type: 'tmpfs' },
        ],
        deviceNodes: [
          { path: '/dev/x' },
          { path: '/dev/y', hostPath: '/dev/z', type: 'u', major: 1, minor: 2, permissions: '' },
          { path: '/dev/z', permissions: 'none' },
          { path: '/dev/z', permissions: 'rwr' },
        ],
      },
    ),
  );
  assert.deepEqual(devices.get('0')?.mounts, [
    { destination: '/b', source: '/a', type: 'bind', options: ['bind', 'ro'] },
    { destination: '/t', source: 'none', type: 'tmpfs', options: [] },
  ]);
  assert.deepEqual(devices.get('0')?.nodes, [
    { path: '/dev/x', hostPath: '/dev/x', type: '', permissions: 'rwm' },
    { path: '/dev/y', hostPath: '/dev/z', type: 'c', permissions: 'rwm', major: 1, minor: 2 },
    { path: '/dev/z', hostPath: '/dev/z', type: '', permissions: '' },
    { path: '/dev/z', hostPath: '/dev/z', type: '', permissions: 'rw' },
  ]);
});

const wrong: [name: string, value: unknown, message: RegExp][] = [
  ['a list', [], /the file is not an object/],
  ['null', null, /the file is not an object/],
  ['a future version', spec({ cdiVersion: '2.0.0' }), /cdiVersion "2\.0\.0"/],
  ['a kind without a class', spec({ kind: 'gpu' }), /kind "gpu" is not vendor\/class/],
  ['no devices', spec({ devices: [] }), /no devices/],
  ['a name twice', spec({ devices: [{ name: 'a' }, { name: 'a' }] }), /"a" is wrong or twice/],
  ['an environment without a value', spec({}, { env: ['A'] }), /"A" is not NAME=value/],
  ['a relative node', spec({}, { deviceNodes: [{ path: 'dev/x' }] }), /not an absolute path/],
  ['a node that climbs', spec({}, { deviceNodes: [{ path: '/dev/../x' }] }), /without "\.\."/],
  ['permissions of another kind', spec({}, { deviceNodes: [{ path: '/dev/x', permissions: 'x' }] }), /of r, w and m/],
  ['a number that is none', spec({}, { deviceNodes: [{ path: '/dev/x', major: '1' }] }), /major .*whole number/],
  ['an unknown hook', spec({}, { hooks: [{ hookName: 'now', path: '/x' }] }), /"now" is not one of prestart/],
  ['a hook by name', spec({}, { hooks: [{ hookName: 'prestart', path: 'x' }] }), /not an absolute path/],
  [
    'what no runtime here does',
    spec({}, { netDevices: [{ hostInterfaceName: 'x', name: 'y' }] }),
    /"netDevices" is unknown, or/,
  ],
  ['a name that is none', spec({}, { deviceNode: [{ path: '/dev/x' }] }), /of device 0: "deviceNode" is unknown/],
  [
    'a name that is none in a mount',
    spec({}, { mounts: [{ hostPath: '/a', target: '/b' }] }),
    /mounts of .*"target" is/,
  ],
  ['a name that is none at the top', spec({ device: [] }), /the file: "device" is unknown/],
  ['edits that are a list', spec({ containerEdits: [] }), /containerEdits of the specification is not an object/],
];
for (const [name, value, message] of wrong) {
  test(`refused: ${name}`, () => assert.throws(() => parseCdiSpec(value), { message }));
}

test('qualified names', () => {
  for (const name of ['nvidia.com/gpu=all', 'vendor.com/net-0=a:b.c']) assert.ok(isCdiName(name), name);
  for (const name of ['', 'gpu=0', 'v/c', 'v/c=', 'v/c=a/b', 'v/c=a=b', '1/c=a']) assert.ok(!isCdiName(name), name);
});
