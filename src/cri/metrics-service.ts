import type * as cri from '../api/runtime/v1/cri.ts';
import { MetricType } from '../api/runtime/v1/cri.ts';
import { podCgroup } from '../lifecycle/pod-cgroups.ts';
import type { Container } from '../model/container.ts';
import type { Pod } from '../model/pod.ts';
import { containerFacts, podFacts, readFilesystem } from '../stats/metric-facts.ts';
import { baseLabels, type MetricFacts, metricSources } from '../stats/metrics.ts';
import type { Handlers, Streams } from './calls.ts';
import { nanoseconds } from './encode.ts';
import type { StatsDeps } from './stats-service.ts';
import { batches } from './stream-lists.ts';

/** The metrics calls of RuntimeService. */
export function metricsHandlers(deps: StatsDeps) {
  return {
    listMetricDescriptors: (): cri.ListMetricDescriptorsResponse => ({
      descriptors: metricSources.map(({ name, help, labels }) => ({
        name,
        help,
        labelKeys: [...baseLabels, ...labels],
      })),
    }),
    listPodSandboxMetrics: async (): Promise<cri.ListPodSandboxMetricsResponse> => ({
      podMetrics: await podMetrics(deps),
    }),
  } satisfies Handlers;
}

export function metricsStreams(deps: StatsDeps) {
  return {
    streamPodSandboxMetrics: async function* () {
      for (const podSandboxMetrics of batches(await podMetrics(deps))) yield { podSandboxMetrics };
    },
  } satisfies Streams;
}

async function podMetrics(deps: StatsDeps): Promise<cri.PodSandboxMetrics[]> {
  const filesystem = await readFilesystem(deps.snapshots.root);
  const ready = [...deps.pods.all()].filter(({ state }) => state.phase === 'ready');
  return Promise.all(ready.map((pod) => metricsOfPod(deps, pod, filesystem)));
}

async function metricsOfPod(
  deps: StatsDeps,
  pod: Pod,
  filesystem: MetricFacts['filesystem'],
): Promise<cri.PodSandboxMetrics> {
  const figures = await deps.stats.ofPod(pod);
  return {
    podSandboxId: pod.id,
    metrics: metricsOf(podFacts(figures, podCgroup(deps, pod), filesystem), podLabels(pod)),
    containerMetrics: figures.containers.map((one) => ({
      containerId: one.container.id,
      metrics: metricsOf(containerFacts(one, filesystem), containerLabels(pod, one.container)),
    })),
  };
}

type Labels = Readonly<Record<(typeof baseLabels)[number], string>>;

/** cAdvisor calls the pod's own figures those of container POD. */
const podLabels = ({ id, config }: Pod): Labels => ({
  id,
  name: id,
  image: '',
  namespace: config.metadata.namespace,
  pod: config.metadata.name,
  container: 'POD',
});

const containerLabels = (pod: Pod, { id, imageRef, config }: Container): Labels => ({
  ...podLabels(pod),
  id,
  name: id,
  image: imageRef,
  container: config.metadata.name,
});

const types = { counter: MetricType.COUNTER, gauge: MetricType.GAUGE } as const;

function metricsOf(facts: MetricFacts, labels: Labels): cri.Metric[] {
  const base = baseLabels.map((key) => labels[key]);
  const timestamp = nanoseconds(facts.now * 1000);
  return metricSources.flatMap(({ name, type, samples }) =>
    samples(facts).map((sample) => ({
      name,
      timestamp,
      metricType: types[type],
      labelValues: [...base, ...sample.labels],
      value: { value: BigInt(Math.max(Math.floor(sample.value), 0)) },
    })),
  );
}
