// What kubelet reads of Berth's answers without asking whether it is there: it would die of one that is not.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  encodeContainer,
  encodeContainerStatus,
  encodeImage,
  encodePod,
  encodePodStatus,
} from '../../../src/cri/encode.ts';
import { encodeContainerStats, encodePodStats } from '../../../src/cri/encode-stats.ts';
import type { Mount } from '../../../src/model/config.ts';
import type { Image } from '../../../src/model/image.ts';
import type { CgroupUsage } from '../../../src/stats/index.ts';
import { containerIn, podIn } from '../lifecycle/fakes.ts';
import { specInput } from '../oci/inputs.ts';

const ready = { phase: 'ready', pausePid: 7, network: null } as const;
const stopped = { phase: 'notReady', released: true, reason: '', network: null } as const;
const attached = { ...ready, network: { ips: ['10.0.0.2', 'fd00::2'], result: null } };
const pods = [podIn(ready), podIn(attached), podIn(stopped)];
const exit = { code: 0, reason: 'Completed', message: '', at: 2 } as const;
const volume: Mount = {
  ...{ containerPath: '/v', hostPath: '', readonly: true, recursiveReadOnly: false, selinuxRelabel: false },
  ...{ propagation: 'private', uidMappings: [], gidMappings: [], image: 'sha256:1', imageSubPath: '' },
};
const containers = [
  containerIn({ phase: 'created' }, undefined, { mounts: [volume] }),
  containerIn({ phase: 'running', pid: 8, startedAt: 1 }),
  containerIn({ phase: 'exited', startedAt: 1, exit }),
];
const image: Image = {
  id: 'sha256:1' as Image['id'],
  tags: [],
  digests: [],
  size: 1,
  layers: [],
  config: specInput().image,
} as Partial<Image> as Image;

const nothing: CgroupUsage = {
  cpu: null,
  throttling: { periods: 0, throttled: 0, throttledTime: 0 },
  memory: null,
  io: null,
  processes: null,
};
const ofContainer = {
  container: containers[1]!,
  at: 5,
  usage: nothing,
  cpuRate: 0,
  layer: null,
  logLoss: { bytes: 0, lines: 0 },
};
const counters = {
  rxBytes: 1,
  rxPackets: 1,
  rxErrors: 0,
  rxDropped: 0,
  txBytes: 1,
  txPackets: 1,
  txErrors: 0,
  txDropped: 0,
};
const networks = [[], [{ name: 'net1', ...counters }], [{ name: 'eth0', ...counters }]];

const answers = {
  PodSandbox: pods.map(encodePod),
  PodSandboxStatus: pods.map(encodePodStatus),
  Container: containers.map(encodeContainer),
  ContainerStatus: containers.map(encodeContainerStatus),
  Image: [encodeImage(image, false)],
  ContainerStats: [encodeContainerStats(ofContainer, '/m')],
  PodSandboxStats: networks.map((interfaces) =>
    encodePodStats({ pod: pods[0]!, at: 5, usage: nothing, cpuRate: 0, interfaces, containers: [ofContainer] }, '/m'),
  ),
} as const;

/**
 * In pkg/kubelet of Kubernetes 1.37.2. A name with `?` is asked for before it is used, one with `[]` is a list of which each
 * is used; everything else must be there, but for the last, which is read as a value.
 */
const reads: readonly (readonly [place: string, answer: keyof typeof answers, path: string])[] = [
  ['kuberuntime/helpers.go:120', 'Container', 'image.runtimeHandler'],
  ['kuberuntime/kuberuntime_gc.go:214', 'Container', 'metadata.name'],
  ['kuberuntime/kuberuntime_gc.go:300', 'PodSandbox', 'metadata.uid'],
  ['kuberuntime/kuberuntime_manager.go:504', 'PodSandbox', 'metadata.uid'],
  ['kuberuntime/kuberuntime_manager.go:2145', 'PodSandboxStatus', 'metadata.uid'],
  ['kuberuntime/kuberuntime_sandbox.go:301', 'PodSandboxStatus', 'network?.ip'],
  ['kuberuntime/kuberuntime_sandbox.go:311', 'PodSandboxStatus', 'network?.additionalIps[].ip'],
  ['kuberuntime/kuberuntime_container.go:743', 'ContainerStatus', 'image.image'],
  ['kuberuntime/kuberuntime_container.go:746', 'ContainerStatus', 'image.runtimeHandler'],
  ['images/image_gc_manager.go:339', 'ContainerStatus', 'mounts[].image?.image'],
  ['kuberuntime/kuberuntime_image.go:122', 'Image', 'spec?.runtimeHandler'],
  ['stats/cri_stats_provider.go:186', 'ContainerStats', 'attributes.id'],
  ['stats/cri_stats_provider.go:853', 'ContainerStats', 'attributes.metadata.name'],
  ['stats/cri_stats_provider.go:860', 'ContainerStats', 'cpu?.usageCoreNanoSeconds?.value'],
  ['stats/cri_stats_provider_linux.go:44', 'PodSandboxStats', 'linux.containers[].attributes.id'],
  ['stats/cri_stats_provider.go:728', 'PodSandboxStats', 'linux.containers[].attributes.metadata.name'],
  ['stats/cri_stats_provider_linux.go:87', 'PodSandboxStats', 'linux.network?.defaultInterface.name'],
  ['stats/cri_stats_provider_linux.go:90', 'PodSandboxStats', 'linux.network?.interfaces[].name'],
  ['stats/cri_stats_provider.go:253', 'PodSandboxStats', 'attributes?.id'],
];

/** What of the path is missing, or null. */
function missing(value: unknown, [step, ...rest]: readonly string[]): string | null {
  if (step === undefined) return null;
  const name = step.replace(/\?|\[\]/g, '');
  const found = (value as Readonly<Record<string, unknown>>)[name];
  if (found === undefined || found === null) return step.endsWith('?') ? null : name;
  if (!step.endsWith('[]')) return missing(found, rest);
  return (found as unknown[]).map((each) => missing(each, rest)).find((each) => each !== null) ?? null;
}

describe('kubelet 1.37.2 finds what it reads', () => {
  for (const [place, answer, path] of reads) {
    test(`${place}: ${answer}.${path}`, () => {
      for (const one of answers[answer]) assert.equal(missing(one, path.split('.')), null);
    });
  }

  test('and this test sees what is missing', () => {
    assert.equal(missing({ network: {} }, ['network?', 'defaultInterface', 'name']), 'defaultInterface');
    assert.equal(missing({ network: undefined }, ['network?', 'defaultInterface', 'name']), null);
    assert.equal(missing({ list: [{ a: {} }, {}] }, ['list[]', 'a', 'b']), 'b');
  });
});
