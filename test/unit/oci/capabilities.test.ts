import assert from 'node:assert/strict';
import test from 'node:test';
import { resolveCapabilities } from '../../../src/oci/capabilities.ts';
import { capabilityNames, defaultCapabilities } from '../../../src/oci/index.ts';
import { security } from './inputs.ts';

const permitted = capabilityNames.filter((name) => name !== 'CAP_SYS_RESOURCE');
const resolve = (capabilities: { add?: string[]; drop?: string[]; addAmbient?: string[] }, privileged = false) =>
  resolveCapabilities(
    { ...security, privileged, capabilities: { add: [], drop: [], addAmbient: [], ...capabilities } },
    permitted,
  );
const inOrder = (names: readonly string[]) => capabilityNames.filter((name) => names.includes(name));

const cases = [
  { name: 'default', given: {}, expected: defaultCapabilities },
  {
    name: 'add in any spelling',
    given: { add: ['net_admin', 'CAP_SYS_TIME'] },
    expected: [...defaultCapabilities, 'CAP_NET_ADMIN', 'CAP_SYS_TIME'],
  },
  { name: 'drop', given: { drop: ['chown'] }, expected: defaultCapabilities.filter((name) => name !== 'CAP_CHOWN') },
  { name: 'drop wins over add', given: { add: ['SYS_ADMIN'], drop: ['SYS_ADMIN'] }, expected: defaultCapabilities },
  { name: 'add ALL is what the daemon has', given: { add: ['all'] }, expected: permitted },
  {
    name: 'add ALL but one',
    given: { add: ['ALL'], drop: ['BPF'] },
    expected: permitted.filter((name) => name !== 'CAP_BPF'),
  },
  { name: 'drop ALL', given: { drop: ['ALL'] }, expected: [] },
  { name: 'drop ALL, add one', given: { drop: ['ALL'], add: ['KILL'] }, expected: ['CAP_KILL'] },
  { name: 'add and drop ALL', given: { drop: ['ALL'], add: ['ALL', 'KILL'] }, expected: ['CAP_KILL'] },
  { name: 'what the daemon lacks cannot be given', given: { add: ['SYS_RESOURCE'] }, expected: defaultCapabilities },
];
for (const { name, given, expected } of cases) {
  test(`capabilities: ${name}`, () => {
    const sets = resolve(given);
    assert.deepEqual(sets.bounding, inOrder(expected));
    assert.deepEqual(sets.effective, sets.bounding);
    assert.deepEqual(sets.permitted, sets.bounding);
    assert.deepEqual([sets.inheritable, sets.ambient], [[], []]);
  });
}

test('there are 14 defaults and 41 names', () => {
  assert.deepEqual([defaultCapabilities.length, capabilityNames.length], [14, 41]);
});

test('privileged is all that the daemon has', () => assert.deepEqual(resolve({}, true).bounding, permitted));

test('ambient ones are in every set', () => {
  const sets = resolve({ addAmbient: ['NET_ADMIN'], drop: ['ALL'] });
  assert.deepEqual(Object.values(sets), Array(5).fill(['CAP_NET_ADMIN']));
});

for (const name of ['SYS_ADMIN ', 'CAP_', '', 'FOO', '__proto__']) {
  test(`refused: ${JSON.stringify(name)}`, () => {
    assert.throws(() => resolve({ add: [name] }), { kind: 'InvalidArgument' });
    assert.throws(() => resolve({ drop: [name] }), { kind: 'InvalidArgument' });
  });
}
