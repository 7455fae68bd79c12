import { monitorEventLoopDelay } from 'node:perf_hooks';
import { Counter, type Metric, type Sample } from '../base/metrics.ts';
import type { CallStats } from '../cri/call-stats.ts';
import { berthVersion } from '../cri/runtime-service.ts';
import type { Deps } from '../lifecycle/deps.ts';
import { type Container, exitReasons } from '../model/container.ts';
import type { Pod } from '../model/pod.ts';
import { standardError } from '../sys/log-output.ts';
import type { Tracing } from '../tracing/index.ts';

/** What only the start knows: seconds until it served, and until all was mended. */
export type StartTimes = { serving?: number; mended?: number };

const one = (value: number): Sample[] => [{ value }];
/** How many are in each phase, also in those in which none is: a series that comes and goes breaks rules for alerts. */
const byState = (
  phases: readonly string[],
  all: Iterable<{ readonly state: { readonly phase: string } }>,
): Sample[] => {
  const counts = new Map(phases.map((phase) => [phase, 0]));
  for (const { state } of all) counts.set(state.phase, (counts.get(state.phase) ?? 0) + 1);
  return [...counts].map(([state, value]) => ({ labels: { state }, value }));
};
const podPhases = ['creating', 'ready', 'notReady'] satisfies Pod['state']['phase'][];
const containerPhases = [
  'creating',
  'created',
  'running',
  'exited',
  'removing',
] satisfies Container['state']['phase'][];

type Figures = { readonly callStats: CallStats; readonly tracing: Tracing; readonly startTimes: StartTimes };

/** Everything that Berth tells of itself. Names by the conventions of Prometheus: base units, `_total` for what only grows. */
export function ownMetrics(deps: Deps, { callStats: calls, tracing, startTimes }: Figures): Metric[] {
  const exits = new Counter(exitReasons.map((reason) => ({ reason })));
  deps.containers.listen((after, before) => {
    if (after?.state.phase === 'exited' && before?.state.phase !== 'exited')
      exits.add({ reason: after.state.exit.reason });
  });
  const loop = monitorEventLoopDelay({ samplePerIteration: true }); // by a timer it would wake an idle daemon a hundred times a second
  loop.enable();
  const memory = () => process.memoryUsage();
  return [
    gauge('berth_build_info', 'The version of Berth that runs.', () => [
      { labels: { version: berthVersion }, value: 1 },
    ]),
    counter('berth_calls_total', 'Calls that have ended, by method and gRPC code.', () => calls.ended.samples()),
    {
      name: 'berth_call_duration_seconds',
      help: 'How long calls took that have ended.',
      type: 'histogram',
      samples: () => calls.took.samples(),
    },
    gauge('berth_calls_under_way', 'Calls that are not answered yet.', () => one(calls.underWay)),
    counter('berth_streams_total', 'Streams of exec, attach and port-forward for which a client connected.', () =>
      calls.streams.samples(),
    ),
    gauge('berth_streams_open', 'Such streams whose connection is still there.', () => calls.openStreams()),
    gauge('berth_pods', 'Pods by state.', () => byState(podPhases, deps.pods.all())),
    gauge('berth_containers', 'Containers by state.', () => byState(containerPhases, deps.containers.all())),
    gauge('berth_pods_being_mended', 'Pods of which the truth is not known yet after a start.', () =>
      one(deps.mending.size),
    ),
    counter('berth_container_exits_total', 'Ends of containers that this daemon saw, by reason.', () =>
      exits.samples(),
    ),
    gauge('berth_images', 'Images that are here.', () => one(deps.images.list().length)),
    gauge('berth_pulls_under_way', 'Pulls and loads under way.', () => one(deps.images.pulls.statuses().length)),
    counter('berth_pulled_bytes_total', 'Bytes of layers that pulls and loads have read, as they come.', () =>
      one(deps.images.pulls.bytes),
    ),
    counter('berth_step_seconds_total', 'What the steps of calls took, by kind: process, shim, wait, record, ...', () =>
      deps.traces.secondsByKind(),
    ),
    counter('berth_spans_exported_total', 'Spans that the endpoint of [tracing] took.', () => tracing.exported()),
    counter('berth_spans_dropped_total', 'Spans that it did not get or take, by reason.', () => tracing.lost()),
    gauge('berth_start_seconds', 'What the last start took until it served, and until all was mended.', () =>
      Object.entries(startTimes).map(([until, value]) => ({ labels: { until }, value })),
    ),
    counter('berth_log_lines_lost_total', "Lines of the daemon's own log that nobody took.", () =>
      one(standardError().lost),
    ),
    gauge('berth_event_loop_delay_seconds', 'How late the event loop was since the last scrape, at most.', () => {
      const most = loop.max / 1e9;
      loop.reset();
      return one(most);
    }),
    gauge('process_resident_memory_bytes', 'Memory of the daemon.', () => one(memory().rss)),
    gauge('nodejs_heap_used_bytes', 'Memory that its objects take.', () => one(memory().heapUsed)),
    counter('process_cpu_seconds_total', 'Processor time of the daemon, user and system.', () => {
      const { user, system } = process.cpuUsage();
      return one((user + system) / 1e6);
    }),
    gauge('process_start_time_seconds', 'When it was started, in seconds since the epoch.', () =>
      one(performance.timeOrigin / 1000),
    ),
  ];
}

const gauge = (name: string, help: string, samples: () => readonly Sample[]): Metric => ({
  name,
  help,
  type: 'gauge',
  samples,
});
const counter = (name: string, help: string, samples: () => readonly Sample[]): Metric => ({
  name,
  help,
  type: 'counter',
  samples,
});
