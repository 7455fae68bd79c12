import assert from 'node:assert/strict';
import { test } from 'node:test';
import { scopeAnnotations, scopeFiles, scopeOf, scopeProperties } from '../../../src/oci/index.ts';

const v2 = { cgroupMode: 'v2' } as const;
const infinity = 2n ** 64n - 1n;

test("limits in systemd's words", () => {
  const limits = {
    memory: { limit: 64, swap: 96 },
    cpu: { shares: 512, quota: 33_333, period: 70_000 },
    unified: {
      ...{ 'memory.high': '48', 'memory.low': 'max', 'memory.min': '1k', 'memory.oom.group': '1' },
      ...{ 'pids.max': 'max', 'io.weight': 'default 333' },
    },
  };
  assert.deepEqual(scopeProperties(limits, v2), {
    MemoryMax: 64n,
    MemorySwapMax: 32n,
    CPUQuotaPerSecUSec: 476_186n, // rounded up
    CPUQuotaPeriodUSec: 70_000n,
    MemoryHigh: 48n,
    MemoryLow: infinity,
    TasksMax: infinity,
    IOWeight: 333n,
  });
  assert.deepEqual(scopeProperties(limits, { cgroupMode: 'v1' }), {});
});

test('what systemd does not know of is kept by file, and of two words for one file the later counts', () => {
  const limits = {
    cpu: { shares: 5, cpus: '0-1', mems: '0' },
    unified: { 'memory.oom.group': '1', 'cpuset.cpus': '1', 'pids.max': '5', 'hugetlb.2MB.max': '0' },
  };
  const kept = { 'cpuset.cpus': '1', 'cpuset.mems': '0', 'memory.oom.group': '1' };
  assert.deepEqual(scopeFiles(limits, v2), kept);
  assert.deepEqual(scopeFiles(limits, { cgroupMode: 'hybrid' }), {});
  assert.deepEqual(scopeFiles({}, v2), {});
});

test('no limit, what is not set and what no unit takes', () => {
  const lifted = { memory: { limit: -1, swap: -1 }, cpu: { quota: -1 } };
  assert.deepEqual(scopeProperties(lifted, v2), {
    MemoryMax: infinity,
    MemorySwapMax: infinity,
    CPUQuotaPerSecUSec: infinity,
    CPUQuotaPeriodUSec: 100_000n,
  });
  assert.deepEqual(scopeProperties({}, v2), {});
  assert.deepEqual(scopeProperties({ memory: { swap: 5 }, cpu: { quota: 5, period: -5 } }, v2), {});
  assert.deepEqual(scopeProperties({ memory: { limit: 9, swap: 5 } }, v2), { MemoryMax: 9n });
  assert.deepEqual(scopeProperties({ unified: { 'memory.high': '9'.repeat(20) } }, v2), {});
  const huge = scopeProperties({ cpu: { quota: Number.MAX_SAFE_INTEGER, period: 1 } }, v2);
  assert.equal(huge.CPUQuotaPerSecUSec, infinity);
});

test('only what systemd makes has them', () => {
  const limits = { memory: { limit: 64 } };
  assert.equal(scopeOf('kubepods-pod1.slice:cri-containerd:abc'), 'cri-containerd-abc.scope');
  assert.equal(scopeOf('/kubepods.slice/a:b:c'), null);
  assert.deepEqual(scopeAnnotations('a.slice:cri-containerd:abc', limits, v2), {
    'run.oci.systemd.subgroup': '',
    'org.systemd.property.MemoryMax': 'uint64 64',
  });
  assert.deepEqual(scopeAnnotations('a.slice:cri-containerd:abc', limits, { cgroupMode: 'v1' }), {});
  assert.deepEqual(scopeAnnotations('/kubepods/pod1/abc', limits, v2), {});
});
