import assert from 'node:assert/strict';
import test from 'node:test';
import { checkSysctls } from '../../../src/oci/index.ts';
import { hostNamespaces, podNamespaces } from './inputs.ts';

test('namespaced sysctls, by name, with either separator', () => {
  const given = { 'net/ipv4/ip_forward': '1', 'kernel.shm_rmid_forced': '0', 'fs.mqueue.msg_max': '10 ' };
  assert.deepEqual(checkSysctls(given, podNamespaces), [
    'fs.mqueue.msg_max=10 ',
    'kernel.shm_rmid_forced=0',
    'net.ipv4.ip_forward=1',
  ]);
});

test('a dot within a name is a slash, and the other way round', () => {
  const same = ['net.ipv4.conf.eth0/100.forwarding', 'net/ipv4/conf/eth0.100/forwarding'];
  for (const name of same)
    assert.deepEqual(checkSysctls({ [name]: '1' }, podNamespaces), ['net.ipv4.conf.eth0/100.forwarding=1']);
});

const refused: [name: string, value: string, message: RegExp][] = [
  ['vm.swappiness', '1', /not namespaced/],
  ['kernel.core_pattern', '|/x', /not namespaced/],
  ['kernel.hostname', 'x', /not namespaced/],
  ['net.ipv4.ip_forward', '1\n2', /one line/],
  ['net.ipv4.ip_forward', '1\0', /one line/],
  ['net.ipv4.x', 'x'.repeat(5000), /one line/],
  ['net..ipv4', '1', /not the name/],
  ['net/../kernel/core_pattern', '1', /not the name/],
  ['net.ipv4/../../kernel', '1', /not the name/],
  ['net.ipv4.//.//.kernel', '1', /not the name/],
  ['net.ipv4./.x', '1', /not the name/],
  ['net/ipv4/./x', '1', /not the name/],
  ['net', '1', /not the name/],
  ['', '1', /not the name/],
];
for (const [name, value, message] of refused) {
  test(`refused: ${JSON.stringify(name)} = ${JSON.stringify(value.slice(0, 10))}`, () => {
    assert.throws(() => checkSysctls({ [name]: value }, podNamespaces), { kind: 'InvalidArgument', message });
  });
}

for (const name of ['net.ipv4.ip_forward', 'kernel.shmmax', 'fs.mqueue.msg_max', 'kernel.domainname']) {
  test(`refused on the host's namespaces: ${name}`, () => {
    assert.throws(() => checkSysctls({ [name]: '1' }, hostNamespaces), { message: /host's (network|ipc) namespace/ });
  });
}
