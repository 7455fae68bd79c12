import assert from 'node:assert/strict';
import test from 'node:test';
import { capabilityNames } from '../../../src/base/capability-names.ts';
import { ownCapabilities } from '../../../src/sys/host.ts';

test('capabilities are those both permitted and bounding', () => {
  const status = (permitted: string, bounding: string) =>
    `Name:\tx\nCapInh:\t0\nCapPrm:\t${permitted}\nCapEff:\t0\nCapBnd:\t${bounding}\n`;
  assert.deepEqual(ownCapabilities(status('000001ffffffffff', '000001ffffffffff')), capabilityNames);
  assert.deepEqual(ownCapabilities(status('0000010000000021', '000001fffffffffe')), [
    'CAP_KILL',
    'CAP_CHECKPOINT_RESTORE',
  ]);
  assert.deepEqual(ownCapabilities('nothing'), []);
});
