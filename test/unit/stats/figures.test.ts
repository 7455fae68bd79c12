import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { after, afterEach, beforeEach, describe, test } from 'node:test';
import { readCgroupLimits } from '../../../src/stats/cgroup-limits.ts';
import { readCgroupUsage } from '../../../src/stats/cgroup-usage.ts';
import { CpuRates } from '../../../src/stats/cpu-rate.ts';
import { parseBlkio, parseIoStat } from '../../../src/stats/device-io.ts';
import { metricSources } from '../../../src/stats/metrics.ts';
import { interfacesIn, parseNetDev } from '../../../src/stats/network-usage.ts';
import { parsePsi } from '../../../src/stats/pressure.ts';
import type { CgroupTree } from '../../../src/sys/cgroup-tree.ts';

describe('readCgroupLimits', () => {
  const root = mkdtempSync(join(tmpdir(), 'berth-limits-'));
  after(() => rmSync(root, { recursive: true }));
  const none = { memory: 0, memoryReservation: 0, memoryAndSwap: 0, cpuShares: 0, cpuQuota: 0, cpuPeriod: 0 };
  const huge = '9223372036854771712\n';
  const cases = [
    {
      what: 'v2',
      files: {
        ...{
          'memory.max': '4000\n',
          'memory.low': '10\n',
          'memory.min': '20\n',
          'memory.swap.max': '110\n',
          'cpu.weight': '100\n',
        },
        ...{ 'cpu.max': '5000 100000\n', 'pids.max': '7\n' },
      },
      limits: {
        ...{ memory: 4000, memoryReservation: 20, memoryAndSwap: 4110, cpuShares: 2597, cpuQuota: 5000 },
        ...{ cpuPeriod: 100_000, processes: 7 },
      },
    },
    {
      what: 'v2 without limits',
      files: { 'memory.max': 'max\n', 'memory.swap.max': 'max\n', 'cpu.max': 'max 100000\n', 'pids.max': 'max\n' },
      limits: { ...none, cpuPeriod: 100_000, processes: 0 },
    },
    {
      what: 'v1',
      files: {
        ...{ 'memory.limit_in_bytes': '4000\n', 'memory.memsw.limit_in_bytes': '5000\n', 'cpu.shares': '2\n' },
        ...{ 'memory.soft_limit_in_bytes': huge, 'cpu.cfs_quota_us': '-1\n', 'cpu.cfs_period_us': '100000\n' },
      },
      limits: { ...none, memory: 4000, memoryAndSwap: 5000, cpuShares: 2, cpuPeriod: 100_000, processes: 0 },
    },
    { what: 'a cgroup that is gone', files: {}, limits: { ...none, processes: 0 } },
  ];
  for (const { what, files, limits } of cases) {
    test(what, () => {
      const path = mkdtempSync(join(root, 'cgroup-'));
      for (const [name, text] of Object.entries(files)) writeFileSync(join(path, name), text);
      const controllers = ['cpu', 'memory', 'pids'];
      const tree: CgroupTree = { mode: 'v1', hierarchies: [{ path: root, version: 1, controllers }] };
      assert.deepEqual(readCgroupLimits(`/${basename(path)}`, { tree }), limits);
    });
  }
});

describe('readCgroupUsage', () => {
  let root = '';
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'berth-stats-'));
  });
  afterEach(() => rmSync(root, { recursive: true }));
  const put = (files: Record<string, string>) => {
    for (const [name, text] of Object.entries(files)) {
      mkdirSync(dirname(join(root, name)), { recursive: true });
      writeFileSync(join(root, name), text);
    }
  };

  test('v2: every figure, pressure included', () => {
    put({
      'pod/c/cpu.stat':
        'usage_usec 3000\nuser_usec 2000\nsystem_usec 1000\nnr_periods 4\nnr_throttled 2\nthrottled_usec 7\n',
      'pod/c/cpu.pressure':
        'some avg10=1.50 avg60=0.25 avg300=0.00 total=900\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=5\n',
      'pod/c/memory.current': '1000\n',
      'pod/c/memory.max': '4000\n',
      'pod/c/memory.peak': '1500\n',
      'pod/c/memory.stat':
        'anon 300\nfile 600\nkernel 50\nfile_mapped 20\ninactive_file 400\nactive_file 200\npgfault 9\npgmajfault 2\n',
      'pod/c/memory.events': 'low 0\nhigh 0\nmax 3\noom 1\noom_kill 1\n',
      'pod/c/memory.swap.current': '10\n',
      'pod/c/memory.swap.max': '110\n',
      'pod/c/pids.current': '5\n',
      'pod/c/io.pressure':
        'some avg10=0.00 avg60=0.00 avg300=0.00 total=1\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=1\n',
    });
    const tree: CgroupTree = {
      mode: 'v2',
      hierarchies: [{ path: root, version: 2, controllers: ['cpu', 'memory', 'io', 'pids'] }],
    };
    const usage = readCgroupUsage('/pod/c', { tree });
    assert.deepEqual([usage.cpu?.total, usage.cpu?.user, usage.cpu?.system], [3_000_000, 2_000_000, 1_000_000]);
    assert.deepEqual(usage.cpu?.psi?.some, { avg10: 1.5, avg60: 0.25, avg300: 0, total: 900 });
    assert.deepEqual(usage.throttling, { periods: 4, throttled: 2, throttledTime: 7000 });
    const { psi: _, ...memory } = usage.memory!;
    assert.deepEqual(memory, {
      usage: 1000,
      workingSet: 600,
      available: 3400,
      rss: 300,
      cache: 600,
      mappedFile: 20,
      kernel: 50,
      activeFile: 200,
      inactiveFile: 400,
      pageFaults: 9,
      majorPageFaults: 2,
      maxUsage: 1500,
      failures: 3,
      oomKills: 1,
      swap: { usage: 10, available: 100 },
    });
    assert.equal(usage.processes, 5);
    assert.equal(usage.io?.psi?.full.total, 1);
  });

  test('v1: totals of the hierarchy, no pressure, no limit as 0', () => {
    put({
      'cpuacct/c/cpuacct.usage': '5000\n',
      'cpuacct/c/cpuacct.usage_user': '3000\n',
      'cpuacct/c/cpuacct.usage_sys': '2000\n',
      'cpu/c/cpu.stat': 'nr_periods 1\nnr_throttled 1\nthrottled_time 42\n',
      'memory/c/memory.usage_in_bytes': '1000\n',
      'memory/c/memory.limit_in_bytes': '9223372036854771712\n',
      'memory/c/memory.stat': 'rss 1\ninactive_file 1\ntotal_rss 300\ntotal_inactive_file 400\ntotal_pgfault 8\n',
      'memory/c/memory.oom_control': 'oom_kill_disable 0\nunder_oom 0\noom_kill 2\n',
    });
    const hierarchy = (name: string) => ({ path: join(root, name), version: 1 as const, controllers: [name] });
    const tree: CgroupTree = { mode: 'v1', hierarchies: ['cpu', 'cpuacct', 'memory'].map(hierarchy) };
    const usage = readCgroupUsage('/c', { tree });
    assert.deepEqual(usage.cpu, { total: 5000, user: 3000, system: 2000, psi: null });
    assert.equal(usage.throttling.throttledTime, 42);
    assert.deepEqual(
      [usage.memory?.workingSet, usage.memory?.available, usage.memory?.rss, usage.memory?.oomKills],
      [600, 0, 300, 2],
    );
    assert.equal(usage.memory?.swap, null);
    assert.deepEqual([usage.processes, usage.io], [null, null]);
  });

  test('a cgroup that is gone has no figures', () => {
    const tree: CgroupTree = { mode: 'v2', hierarchies: [{ path: root, version: 2, controllers: ['cpu', 'memory'] }] };
    const usage = readCgroupUsage('/gone', { tree });
    assert.deepEqual([usage.cpu, usage.processes], [null, null]);
    assert.equal(usage.memory, null);
  });
});

describe('CpuRates', () => {
  test('the first look measures since the start, later ones between looks of at least a second', () => {
    let now = 0;
    const rates = new CpuRates(() => now);
    const at = (ms: number, total: number, ranMs: number) => {
      now = ms;
      return rates.rate('c', total, ranMs);
    };
    assert.equal(at(2000, 1e9, 2000), 0.5e9);
    assert.equal(at(2100, 1.1e9, 2100), Math.round((1.1e9 / 2100) * 1000), 'too soon for a base of its own');
    assert.equal(at(4000, 3e9, 4000), 1e9);
    assert.equal(at(5000, 1e8, 100), 1e9, 'a restarted one starts anew');
    rates.keep(new Set());
    assert.equal(at(9000, 1e9, 1000), 1e9);
    rates.keep(new Set());
    assert.equal(at(9500, 1e9, -3_600_000), 0, 'started after now, as the clock was set back');
  });

  test('a clock that is set back an hour changes no rate', (t) => {
    let elapsed = 5000;
    t.mock.method(performance, 'now', () => elapsed);
    t.mock.timers.enable({ apis: ['Date'], now: 1e12 });
    const rates = new CpuRates();
    rates.rate('c', 1e9, 1000);
    elapsed += 2000;
    t.mock.timers.setTime(1e12 - 3_600_000);
    assert.equal(rates.rate('c', 2e9, -3_597_000), 0.5e9);
  });
});

test('parseNetDev reads both directions', () => {
  const text = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:       1       2    0    0    0     0          0         0        1       2    0    0    0     0       0          0
  eth0:    1000      10    3    4    0     0          0         0     2000      20    5    6    0     0       0          0
`;
  assert.deepEqual(parseNetDev(text)[1], {
    name: 'eth0',
    rxBytes: 1000,
    rxPackets: 10,
    rxErrors: 3,
    rxDropped: 4,
    txBytes: 2000,
    txPackets: 20,
    txErrors: 5,
    txDropped: 6,
  });
  assert.deepEqual(parseNetDev(''), []);
});

test("a pod's own interface is among those that are told of, however many others are made in it", () => {
  const line = (name: string) => `${name}: 1 2 0 0 0 0 0 0 3 4 0 0 0 0 0 0\n`;
  const others = Array.from({ length: 100 }, (_, nth) => line(`dummy${nth}`));
  const text = `head\nhead\n${line('lo')}${others.join('')}${line('eth0')}dummy100: 1 2 0 0`;
  const names = interfacesIn(text).map(({ name }) => name);
  assert.deepEqual([names.length, names.slice(0, 2), names.at(-1)], [64, ['eth0', 'dummy0'], 'dummy62']);
  assert.deepEqual(interfacesIn(''), []);
});

test('block device figures of v1 and v2', () => {
  assert.deepEqual(parseIoStat('8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0\n254:16 \n'), [
    { major: 8, minor: 0, readBytes: 1, writeBytes: 2, reads: 3, writes: 4 },
    { major: 254, minor: 16, readBytes: 0, writeBytes: 0, reads: 0, writes: 0 },
  ]);
  assert.deepEqual(
    [...parseBlkio('8:0 Read 5\n8:0 Write 6\n8:0 Sync 9\nTotal 11\n')],
    [['8:0', { read: 5, write: 6 }]],
  );
});

test('pressure without a full line', () => {
  assert.deepEqual(parsePsi('some avg10=0.10 avg60=0.00 avg300=0.00 total=12\n').full.total, 0);
});

test('60 metrics, each under one name that Prometheus takes', () => {
  const names = metricSources.map(({ name }) => name);
  assert.equal(names.length, 60);
  assert.equal(new Set(names).size, 60);
  for (const { name, type } of metricSources) {
    assert.match(name, /^(berth_)?container_[a-z0-9_]+$/);
    if (type === 'counter') assert.ok(name.endsWith('_total') || name === 'container_memory_failcnt', name);
  }
});
