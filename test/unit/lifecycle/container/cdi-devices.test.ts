// What a specification of CDI leaves open of a device node, as CDI's own library fills it in.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { FileFacts } from '../../../../src/base/host-files.ts';
import { injectDevices } from '../../../../src/lifecycle/container/cdi-devices.ts';
import type { ContainerConfig } from '../../../../src/model/config.ts';
import type { Looker } from '../../../../src/shim/index.ts';

const facts: FileFacts = { kind: 'character', mode: 0o660, uid: 5, gid: 44, major: 226, minor: 128 };
const user = { uid: 1000, gid: 100 };

/** The node that comes of this one, on a host that has /dev/there. */
async function resolved(node: object) {
  const spec = {
    cdiVersion: '1.1.0',
    kind: 'vendor.com/gpu',
    devices: [{ name: 'a', containerEdits: { deviceNodes: [node] } }],
  };
  const looker = {
    list: async () => [['a.json', {}]],
    readText: async () => JSON.stringify(spec),
    stat: async (path: string) => (path === '/dev/there' ? facts : null),
  };
  const container = { cdiDevices: ['vendor.com/gpu=a'], annotations: {} } as unknown as ContainerConfig;
  const injected = await injectDevices(looker as unknown as Looker, container, ['/etc/cdi'], user);
  return injected!.devices[0];
}

const there = { path: '/dev/there', type: 'c', major: 226, minor: 128, fileMode: 0o660, ...user, access: 'rwm' };

const cases: [name: string, node: object, expected: object][] = [
  ['a path alone', { path: '/dev/there' }, there],
  ['an owner of its own', { path: '/dev/there', uid: 0, gid: 7 }, { ...there, uid: 0, gid: 7 }],
  ['a path that is not clean', { path: '/dev//there/', hostPath: '/dev/there' }, there],
  ['another place', { path: '/dev/x', hostPath: '/dev/there' }, { ...there, path: '/dev/x' }],
  [
    'numbers that the host has otherwise',
    { path: '/dev/there', type: 'c', major: 9 },
    { ...there, major: 9, minor: 0 },
  ],
  [
    'kind and numbers of what the host does not have',
    { path: '/dev/gone', type: 'b', major: 9, minor: 1 },
    { path: '/dev/gone', type: 'b', major: 9, minor: 1, fileMode: 0o666, ...user, access: 'rwm' },
  ],
  ['no permission', { path: '/dev/there', permissions: 'none' }, { ...there, access: '' }],
];
for (const [name, node, expected] of cases) {
  test(name, async () => assert.deepEqual(await resolved(node), expected));
}

test('a kind that the host has otherwise, and nothing at all, are refused', async () => {
  const refused = (message: RegExp) => ({ kind: 'FailedPrecondition', message });
  await assert.rejects(resolved({ path: '/dev/there', type: 'b' }), refused(/is of type c on this host, not b/));
  await assert.rejects(resolved({ path: '/dev/gone' }), refused(/is no device on this host/));
  await assert.rejects(resolved({ path: '/dev/gone', type: 'c' }), refused(/is no device on this host/));
});

test('files are read as the library of CDI reads them, whatever their names end in', async () => {
  const yaml = (name: string) => `# of a vendor
cdiVersion: v0.6.0
kind: vendor.com/gpu
devices:
- {name: ${name}, containerEdits: {env: [NAME=${name}]}}
`;
  const files: Readonly<Record<string, string>> = {
    'a.json': yaml('in-json'),
    'b.yaml': `${yaml('in-yaml')}---\nanother: document\n`,
    'd.json': '\ufeff{"cdiVersion":"0.6.0","kind":"vendor.com/gpu","devices":[{"name":"marked","containerEdits":{}}]}',
  };
  const looker = {
    list: async () => Object.keys(files).map((name) => [name, {}]),
    readText: async (path: string) => files[path.replace('/etc/cdi/', '')],
  };
  const inject = async (...names: string[]) => {
    const container = { cdiDevices: names.map((name) => `vendor.com/gpu=${name}`), annotations: {} };
    return injectDevices(looker as unknown as Looker, container as unknown as ContainerConfig, ['/etc/cdi'], user);
  };
  assert.deepEqual((await inject('in-json', 'in-yaml', 'marked'))?.env, ['NAME=in-json', 'NAME=in-yaml']);
});
