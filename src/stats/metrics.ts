import type { CgroupLimits } from './cgroup-limits.ts';
import type { CgroupUsage } from './cgroup-usage.ts';
import type { DeviceIo } from './device-io.ts';
import type { HugepageUsage } from './hugetlb.ts';
import type { Usage } from './layer-usage.ts';
import type { InterfaceUsage } from './network-usage.ts';
import type { ProcessFacts } from './process-facts.ts';

/** Everything that the metrics of one pod or container are made of. */
export type MetricFacts = {
  readonly usage: CgroupUsage;
  readonly io: readonly DeviceIo[];
  readonly hugepages: readonly HugepageUsage[];
  readonly processes: ProcessFacts;
  readonly interfaces: readonly InterfaceUsage[];
  /** Null for a pod: layers are containers'. */
  readonly layer: Usage | null;
  /** What its log lost since it was started. Null for a pod. */
  readonly logLoss: { readonly bytes: number; readonly lines: number } | null;
  readonly filesystem: { readonly bytes: number; readonly inodes: number; readonly inodesFree: number };
  readonly limits: CgroupLimits;
  /** Seconds since the epoch. */
  readonly startedAt: number;
  readonly now: number;
};

/** One value; `labels` are those that the metric has beside the base ones, in order. */
export type Sample = { readonly labels: readonly string[]; readonly value: number };

export type MetricSource = {
  readonly name: string;
  readonly help: string;
  readonly type: 'counter' | 'gauge';
  /** Beside the base labels. */
  readonly labels: readonly string[];
  readonly samples: (facts: MetricFacts) => readonly Sample[];
};

/** Labels that every metric has, in the names that cAdvisor gives them. */
export const baseLabels = ['id', 'name', 'image', 'namespace', 'pod', 'container'] as const;

type Figure = (facts: MetricFacts) => number | null | undefined;

const single =
  (type: MetricSource['type']) =>
  (name: string, help: string, figure: Figure): MetricSource => ({
    name,
    help,
    type,
    labels: [],
    samples: (facts) => {
      const value = figure(facts);
      return value === null || value === undefined ? [] : [{ labels: [], value }];
    },
  });
const counter = single('counter');
const gauge = single('gauge');

const labelled = (
  type: MetricSource['type'],
  name: string,
  help: string,
  labels: readonly string[],
  samples: MetricSource['samples'],
): MetricSource => ({ name, help, type, labels, samples });

const seconds = (nanos: number | undefined): number | undefined => (nanos === undefined ? undefined : nanos / 1e9);

const cpu: MetricSource[] = [
  counter('container_cpu_user_seconds_total', 'CPU time in user mode, seconds', ({ usage }) =>
    seconds(usage.cpu?.user),
  ),
  counter('container_cpu_system_seconds_total', 'CPU time in the kernel, seconds', ({ usage }) =>
    seconds(usage.cpu?.system),
  ),
  labelled('counter', 'container_cpu_usage_seconds_total', 'CPU time, seconds', ['cpu'], ({ usage }) =>
    usage.cpu ? [{ labels: ['total'], value: usage.cpu.total / 1e9 }] : [],
  ),
  counter('container_cpu_cfs_periods_total', 'Periods of the CPU quota', ({ usage }) => usage.throttling.periods),
  counter(
    'container_cpu_cfs_throttled_periods_total',
    'Periods in which the quota was used up',
    ({ usage }) => usage.throttling.throttled,
  ),
  counter('container_cpu_cfs_throttled_seconds_total', 'Time spent throttled, seconds', ({ usage }) =>
    seconds(usage.throttling.throttledTime),
  ),
];

const memoryGauge = (
  name: string,
  help: string,
  key: 'cache' | 'rss' | 'kernel' | 'mappedFile' | 'usage' | 'maxUsage' | 'workingSet' | 'activeFile' | 'inactiveFile',
) => gauge(`container_memory_${name}`, help, ({ usage }) => usage.memory?.[key]);

const memory: MetricSource[] = [
  memoryGauge('cache', 'Page cache, bytes', 'cache'),
  memoryGauge('rss', 'Anonymous memory, bytes', 'rss'),
  memoryGauge('kernel_usage', 'Kernel memory, bytes', 'kernel'),
  memoryGauge('mapped_file', 'Memory-mapped files, bytes', 'mappedFile'),
  gauge('container_memory_swap', 'Swap in use, bytes', ({ usage }) => usage.memory?.swap?.usage ?? 0),
  counter('container_memory_failcnt', 'Times that memory reached its limit', ({ usage }) => usage.memory?.failures),
  memoryGauge('usage_bytes', 'Memory in use, page cache included, bytes', 'usage'),
  memoryGauge('max_usage_bytes', 'Most memory ever in use, bytes', 'maxUsage'),
  memoryGauge('working_set_bytes', 'Memory in use that cannot be dropped at once, bytes', 'workingSet'),
  memoryGauge('total_active_file_bytes', 'Page cache used of late, bytes', 'activeFile'),
  memoryGauge('total_inactive_file_bytes', 'Page cache not used of late, bytes', 'inactiveFile'),
  labelled('counter', 'container_memory_failures_total', 'Page faults', ['failure_type', 'scope'], ({ usage }) =>
    usage.memory
      ? ['container', 'hierarchy'].flatMap((scope) => [
          { labels: ['pgfault', scope], value: usage.memory!.pageFaults },
          { labels: ['pgmajfault', scope], value: usage.memory!.majorPageFaults },
        ])
      : [],
  ),
  counter(
    'container_oom_events_total',
    'Processes that the kernel killed for want of memory',
    ({ usage }) => usage.memory?.oomKills,
  ),
];

const byDevice = (name: string, help: string, key: 'readBytes' | 'reads' | 'writeBytes' | 'writes') =>
  labelled('counter', `container_fs_${name}`, help, ['device'], ({ io }) =>
    io.map((device) => ({ labels: [`${device.major}:${device.minor}`], value: device[key] })),
  );

const storage: MetricSource[] = [
  gauge(
    'container_fs_inodes_free',
    'Free inodes of the file system',
    ({ filesystem, layer }) => layer && filesystem.inodesFree,
  ),
  gauge(
    'container_fs_inodes_total',
    'Inodes of the file system',
    ({ filesystem, layer }) => layer && filesystem.inodes,
  ),
  gauge(
    'container_fs_limit_bytes',
    'Size of the file system, bytes',
    ({ filesystem, layer }) => layer && filesystem.bytes,
  ),
  gauge('container_fs_usage_bytes', 'Size of the writable layer, bytes', ({ layer }) => layer?.bytes),
  byDevice('reads_bytes_total', 'Bytes read', 'readBytes'),
  byDevice('reads_total', 'Read operations', 'reads'),
  byDevice('writes_bytes_total', 'Bytes written', 'writeBytes'),
  byDevice('writes_total', 'Write operations', 'writes'),
  labelled(
    'counter',
    'container_blkio_device_usage_total',
    'Bytes by device and operation',
    ['device', 'major', 'minor', 'operation'],
    ({ io }) =>
      io.flatMap(({ major, minor, readBytes, writeBytes }) => {
        const labels = [`${major}:${minor}`, `${major}`, `${minor}`];
        return [
          { labels: [...labels, 'Read'], value: readBytes },
          { labels: [...labels, 'Write'], value: writeBytes },
        ];
      }),
  ),
  labelled('gauge', 'container_hugetlb_usage_bytes', 'Huge pages in use, bytes', ['pagesize'], ({ hugepages }) =>
    hugepages.map(({ pageSize, usage }) => ({ labels: [pageSize], value: usage })),
  ),
  labelled(
    'gauge',
    'container_hugetlb_max_usage_bytes',
    'Most huge pages ever in use, bytes',
    ['pagesize'],
    ({ hugepages }) => hugepages.map(({ pageSize, maxUsage }) => ({ labels: [pageSize], value: maxUsage })),
  ),
];

const byInterface = (name: string, help: string, key: Exclude<keyof InterfaceUsage, 'name'>) =>
  labelled('counter', `container_network_${name}_total`, help, ['interface'], ({ interfaces }) =>
    interfaces.map((one) => ({ labels: [one.name], value: one[key] })),
  );

const network: MetricSource[] = [
  byInterface('receive_bytes', 'Bytes received', 'rxBytes'),
  byInterface('receive_packets', 'Packets received', 'rxPackets'),
  byInterface('receive_packets_dropped', 'Packets dropped on the way in', 'rxDropped'),
  byInterface('receive_errors', 'Errors while receiving', 'rxErrors'),
  byInterface('transmit_bytes', 'Bytes sent', 'txBytes'),
  byInterface('transmit_packets', 'Packets sent', 'txPackets'),
  byInterface('transmit_packets_dropped', 'Packets dropped on the way out', 'txDropped'),
  byInterface('transmit_errors', 'Errors while sending', 'txErrors'),
];

const processes: MetricSource[] = [
  gauge('container_processes', 'Processes', (facts) => facts.processes.processes),
  gauge('container_threads', 'Threads', (facts) => facts.processes.threads),
  gauge('container_threads_max', 'Most threads and processes allowed; 0: no limit', (facts) => facts.limits.processes),
  gauge('container_file_descriptors', 'Open file descriptors', (facts) => facts.processes.descriptors),
  gauge('container_sockets', 'Open sockets', (facts) => facts.processes.sockets),
  labelled('gauge', 'container_ulimits_soft', 'Soft limits of the first process', ['ulimit'], (facts) => [
    { labels: ['max_open_files'], value: facts.processes.openFilesLimit },
  ]),
  gauge('container_last_seen', 'When these figures were taken, seconds since the epoch', ({ now }) => now),
  gauge('container_start_time_seconds', 'When it started, seconds since the epoch', ({ startedAt }) => startedAt),
];

/** cAdvisor has none such; what is ours does not take a name that it may give to something else. */
const logs: MetricSource[] = [
  counter(
    'berth_container_log_lines_lost_total',
    'Lines that never came into the log, as it could not be written',
    ({ logLoss }) => logLoss?.lines,
  ),
  counter(
    'berth_container_log_bytes_lost_total',
    'Bytes that never came into the log, as it could not be written',
    ({ logLoss }) => logLoss?.bytes,
  ),
];

const specs: MetricSource[] = [
  gauge('container_spec_memory_limit_bytes', 'Memory limit, bytes; 0: none', ({ limits }) => limits.memory),
  gauge(
    'container_spec_memory_reservation_limit_bytes',
    'Memory reservation, bytes; 0: none',
    ({ limits }) => limits.memoryReservation,
  ),
  gauge(
    'container_spec_memory_swap_limit_bytes',
    'Limit of memory and swap, bytes; 0: none',
    ({ limits }) => limits.memoryAndSwap,
  ),
  gauge('container_spec_cpu_period', 'Period of the CPU quota, microseconds', ({ limits }) => limits.cpuPeriod),
  // As cAdvisor has it: who divides by what is not there gets nothing, and by 0 what has no end.
  gauge('container_spec_cpu_quota', 'CPU quota, microseconds; absent: none', ({ limits }) => limits.cpuQuota || null),
  gauge('container_spec_cpu_shares', 'CPU shares', ({ limits }) => limits.cpuShares),
];

const pressure = (resource: 'cpu' | 'memory' | 'io'): MetricSource[] => {
  const total =
    (kind: 'some' | 'full'): Figure =>
    ({ usage }) => {
      const psi = usage[resource]?.psi;
      return psi ? psi[kind].total / 1e6 : null;
    };
  return [
    counter(
      `container_pressure_${resource}_stalled_seconds_total`,
      `Time in which every task waited for ${resource}, seconds`,
      total('full'),
    ),
    counter(
      `container_pressure_${resource}_waiting_seconds_total`,
      `Time in which some task waited for ${resource}, seconds`,
      total('some'),
    ),
  ];
};

/** The metrics that kubelet passes on: what either peer serves, under cAdvisor's names, 58 in all, and what is ours. */
export const metricSources: readonly MetricSource[] = [
  ...cpu,
  ...memory,
  ...storage,
  ...network,
  ...processes,
  ...specs,
  ...logs,
  ...pressure('cpu'),
  ...pressure('memory'),
  ...pressure('io'),
];
