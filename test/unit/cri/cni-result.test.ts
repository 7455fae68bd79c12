import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cniResultOf } from '../../../src/cri/cni-result.ts';

test('addresses are those of their interfaces, or of eth0 if they name none', () => {
  const result = {
    interfaces: [
      { name: 'cni0', mac: 'a' },
      { name: 'eth0', mac: 'b', sandbox: '/var/run/netns/x' },
    ],
    ips: [
      { address: '10.0.0.2/24', gateway: '10.0.0.1', interface: 1 },
      { address: 'fd00::2/64', interface: 1 },
    ],
    routes: [{ dst: '0.0.0.0/0' }],
    dns: { nameservers: ['10.0.0.10'] },
  };
  assert.deepEqual(cniResultOf(result), {
    Interfaces: {
      eth0: {
        IPConfigs: [
          { IP: '10.0.0.2', Gateway: '10.0.0.1' },
          { IP: 'fd00::2', Gateway: '' },
        ],
        Mac: 'b',
        Sandbox: '/var/run/netns/x',
      },
      cni0: { IPConfigs: null, Mac: 'a', Sandbox: '' },
    },
    DNS: [{ nameservers: ['10.0.0.10'] }],
    Routes: [{ dst: '0.0.0.0/0' }],
  });
  assert.deepEqual(cniResultOf({ ips: [{ address: '10.0.0.2/24' }] }), {
    Interfaces: { eth0: { IPConfigs: [{ IP: '10.0.0.2', Gateway: '' }], Mac: '', Sandbox: '' } },
    DNS: [{}],
    Routes: [],
  });
});

test('what a plugin may have printed instead is none', () => {
  assert.equal(cniResultOf(null), null);
  assert.equal(cniResultOf('text'), null);
  assert.equal(cniResultOf(undefined), null);
  const none = { Interfaces: { eth0: { IPConfigs: null, Mac: '', Sandbox: '' } }, DNS: [{}], Routes: [] };
  for (const odd of [{}, { interfaces: 1, ips: 'x', routes: null, dns: [] }, { ips: [null, 1, { interface: 7 }] }])
    assert.deepEqual(cniResultOf(odd), none);
});
