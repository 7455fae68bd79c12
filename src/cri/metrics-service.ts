import { setImmediate as turn } from 'node:timers/promises';
import type * as cri from '../api/runtime/v1/cri.ts';
import { MetricType, PodSandboxMetrics } from '../api/runtime/v1/cri.ts';
import { eachSoundSoon } from '../base/sound.ts';
import type { Container } from '../model/container.ts';
import type { Pod } from '../model/pod.ts';
import type { PodFigures } from '../stats/index.ts';
import { containerFacts, podFacts, readFilesystem } from '../stats/metric-facts.ts';
import { baseLabels, type MetricFacts, metricSources } from '../stats/metrics.ts';
import type { Handlers, Streams } from './calls.ts';
import { batches, item, listBytes } from './list-bytes.ts';
import { nanoseconds, uint64 } from './numbers.ts';
import type { StatsDeps } from './stats-service.ts';

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
    listPodSandboxMetrics: async () => listBytes(await podMetricsItems(deps)),
  } satisfies Handlers;
}

export function metricsStreams(deps: StatsDeps) {
  return {
    streamPodSandboxMetrics: async function* () {
      yield* batches(await podMetricsItems(deps));
    },
  } satisfies Streams;
}

/**
 * Figures are read at once, and then the processes of one cgroup after the other: in each there may be thousands, and calls
 * have their turn between them.
 */
async function podMetricsItems(deps: StatsDeps): Promise<Buffer[]> {
  const filesystem = await readFilesystem(deps.snapshots.root);
  const ready = [...deps.pods.all()].filter(({ state }) => state.phase === 'ready');
  const items: Buffer[] = [];
  for (const figures of await eachSoundSoon(ready, (pod) => deps.stats.ofPod(pod))) {
    const containerMetrics = await metricsOfContainers(figures, filesystem);
    const encoded = async (pod: Pod) =>
      item(PodSandboxMetrics, { ...(await metricsOfPod(pod, figures, filesystem)), containerMetrics });
    items.push(...(await eachSoundSoon([figures.pod], encoded)));
    await turn();
  }
  return items;
}

type Filesystem = MetricFacts['filesystem'];

async function metricsOfContainers(
  { pod, containers }: PodFigures,
  filesystem: Filesystem,
): Promise<cri.ContainerMetrics[]> {
  const all: cri.ContainerMetrics[] = [];
  for (const figures of containers) {
    const metrics = async (container: Container): Promise<cri.ContainerMetrics> => ({
      containerId: container.id,
      metrics: metricsOf(await containerFacts(figures, filesystem), containerLabels(pod, container)),
    });
    all.push(...(await eachSoundSoon([figures.container], metrics)));
    await turn();
  }
  return all;
}

const metricsOfPod = async (pod: Pod, figures: PodFigures, filesystem: Filesystem) => ({
  podSandboxId: pod.id,
  metrics: metricsOf(await podFacts(figures, pod.cgroup, filesystem), podLabels(pod)),
});

type Labels = Readonly<Record<(typeof baseLabels)[number], string>>;

/**
 * As cAdvisor has the figures of a pod as a whole: dashboards take those whose container, image or name is not empty, and
 * would count everything twice.
 */
const podLabels = ({ id, config }: Pod): Labels => ({
  id,
  name: '',
  image: '',
  namespace: config.metadata.namespace,
  pod: config.metadata.name,
  container: '',
});

const containerLabels = (pod: Pod, { id, imageName, imageRef, config }: Container): Labels => ({
  ...podLabels(pod),
  id,
  name: id,
  image: imageName ?? imageRef,
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
      value: { value: uint64(Math.floor(sample.value)) },
    })),
  );
}
