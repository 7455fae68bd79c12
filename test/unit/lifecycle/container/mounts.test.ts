import assert from 'node:assert/strict';
import test from 'node:test';
import { checkPropagation } from '../../../../src/lifecycle/container/mounts.ts';
import { mount } from '../../oci/inputs.ts';

const table = `1 0 8:1 / / rw - ext4 a rw
2 1 8:2 / /shared rw shared:1 - ext4 b rw
3 1 8:3 / /slave rw master:1 - ext4 c rw
`;
const cases = [
  { hostPath: '/x', propagation: 'private', allowed: true },
  { hostPath: '/x', propagation: 'hostToContainer', allowed: false },
  { hostPath: '/x', propagation: 'bidirectional', allowed: false },
  { hostPath: '/slave/x', propagation: 'hostToContainer', allowed: true },
  { hostPath: '/slave/x', propagation: 'bidirectional', allowed: false },
  { hostPath: '/shared/x', propagation: 'hostToContainer', allowed: true },
  { hostPath: '/shared/x', propagation: 'bidirectional', allowed: true },
] as const;
for (const { hostPath, propagation, allowed } of cases) {
  test(`${propagation} of ${hostPath}: ${allowed ? 'allowed' : 'refused'}`, () => {
    const check = () => checkPropagation({ ...mount, hostPath, propagation }, table);
    if (allowed) check();
    else assert.throws(check, { kind: 'FailedPrecondition', message: /is not a shared/ });
  });
}
