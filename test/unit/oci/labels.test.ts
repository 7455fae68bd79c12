import assert from 'node:assert/strict';
import test from 'node:test';
import type { PodId } from '../../../src/model/ids.ts';
import { buildSpec, resolveApparmor } from '../../../src/oci/index.ts';
import { host, security, specInput } from './inputs.ts';

const withSelinux = { ...host, selinux: true };
const labels = (input: Parameters<typeof specInput>[0]) => {
  const spec = buildSpec(specInput(input));
  return [spec.process.selinuxLabel, spec.linux.mountLabel];
};

test('SELinux: defaults, with two categories of the pod', () => {
  const [process, mount] = labels({ host: withSelinux });
  assert.match(process!, /^system_u:system_r:container_t:s0:c\d+,c\d+$/);
  assert.equal(mount, process!.replace('system_r:container_t', 'object_r:container_file_t'));
  assert.deepEqual(labels({ host: withSelinux }), [process, mount]);
  assert.notEqual(labels({ host: withSelinux, podId: 'q'.repeat(64) as PodId })[0], process);
});

test('SELinux: categories of any pod are two different ones of 1024, in order', () => {
  for (let pod = 0; pod < 500; pod++) {
    const [process] = labels({ host: withSelinux, podId: String(pod) as PodId });
    const [low = 0, high = 0] =
      /:c(\d+),c(\d+)$/
        .exec(process ?? '')
        ?.slice(1)
        .map(Number) ?? [];
    assert.ok(low < high && high < 1024, `${process}`);
  }
});

test('SELinux: as asked, and nothing when off or privileged', () => {
  const asked = { selinux: { user: 'u', role: 'r', type: 't', level: 's0:c1,c2' } };
  assert.deepEqual(labels({ host: withSelinux, security: asked }), [
    'u:r:t:s0:c1,c2',
    'u:object_r:container_file_t:s0:c1,c2',
  ]);
  assert.deepEqual(labels({ security: asked }), [undefined, undefined]);
  assert.deepEqual(labels({ host: withSelinux, security: { ...asked, privileged: true } }), [undefined, undefined]);
});

const on = { ...host, apparmor: true };
const named = { type: 'localhost', ref: 'mine' } as const;
const apparmor = [
  { name: 'unset', changes: { apparmor: null }, facts: on, profile: 'berth-default' },
  { name: 'default', changes: { apparmor: { type: 'runtimeDefault' } as const }, facts: on, profile: 'berth-default' },
  { name: 'unconfined', changes: { apparmor: { type: 'unconfined' } as const }, facts: on, profile: 'unconfined' },
  { name: 'by name', changes: { apparmor: named }, facts: on, profile: 'mine' },
  { name: 'by name, privileged', changes: { apparmor: named, privileged: true }, facts: on, profile: '' },
  { name: 'default where it is off', changes: { apparmor: null }, facts: host, profile: '' },
];
for (const { name, changes, facts, profile } of apparmor) {
  test(`AppArmor: ${name}`, () => assert.equal(resolveApparmor({ ...security, ...changes }, facts), profile));
}

test('AppArmor: by name where it is off is refused', () => {
  const resolve = () => resolveApparmor({ ...security, apparmor: named }, host);
  assert.throws(resolve, { kind: 'FailedPrecondition', message: /"mine": AppArmor is off/ });
});
