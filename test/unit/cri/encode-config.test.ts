// Messages of the interface as the peers print them.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { asPrinted } from '../../../src/cri/encode-config.ts';

test('numbers of 64 bits are printed whole, as who reads them by their type refuses others', () => {
  const printed = JSON.stringify(asPrinted({ memoryLimitInBytes: 2n ** 63n - 1n, cpuQuota: -1n, cpuShares: 2n }));
  assert.equal(printed, '{"memory_limit_in_bytes":9223372036854775807,"cpu_quota":-1,"cpu_shares":2}');
});

test('what is empty is left out, maps too; a message without fields was there', () => {
  const message = { labels: {}, annotations: { key: '' }, args: [], logPath: '', runAsUser: { value: 0n } };
  assert.deepEqual(asPrinted(message), { annotations: { key: '' }, run_as_user: {} });
});
