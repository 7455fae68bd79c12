// What counts as the same request again.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as cri from '../../../src/api/runtime/v1/cri.ts';
import { decodeContainerConfig } from '../../../src/cri/decode-container.ts';
import { decodePodConfig } from '../../../src/cri/decode-pod.ts';
import { type Container, isWhatIsAsked as isContainerAsked } from '../../../src/model/container.ts';
import { isWhatIsAsked as isPodAsked, type Pod } from '../../../src/model/pod.ts';

type Partially<T> = { [Key in keyof T]?: unknown };

const container = (more: Partially<cri.ContainerConfig> = {}) =>
  decodeContainerConfig(
    cri.ContainerConfig.fromPartial({
      metadata: { name: 'c', attempt: 1 },
      image: { image: 'x' },
      annotations: { 'io.kubernetes.container.terminationMessagePath': '/dev/termination-log', a: '1', b: '2' },
      envs: [
        { key: 'OWN', value: Buffer.from('1') },
        { key: 'A_SERVICE_HOST', value: Buffer.from('10.0.0.1') },
        { key: 'OWN', value: Buffer.from('2') },
        { key: 'B_SERVICE_HOST', value: Buffer.from('10.0.0.2') },
      ],
      mounts: [
        { containerPath: '/data', hostPath: '/data' },
        { containerPath: '/dev/termination-log', hostPath: '/var/lib/kubelet/pods/p/containers/c/1a2b' },
      ],
      ...more,
    } as Parameters<typeof cri.ContainerConfig.fromPartial>[0]),
  );

const containerIs = (phase: string, config: Container['config']) => ({ config, state: { phase } }) as Container;

test('a container is what kubelet asks for again, with another file for its last words and its services in another order', () => {
  const made = containerIs('created', container());
  const own = [
    { key: 'OWN', value: Buffer.from('1') },
    { key: 'OWN', value: Buffer.from('2') },
  ];
  const services = ['B', 'A'].map((name, i) => ({
    key: `${name}_SERVICE_HOST`,
    value: Buffer.from(`10.0.0.${2 - i}`),
  }));
  const again = container({
    annotations: { b: '2', a: '1', 'io.kubernetes.container.terminationMessagePath': '/dev/termination-log' },
    envs: [...services, ...own],
    mounts: [
      { containerPath: '/data', hostPath: '/data' },
      { containerPath: '/dev/termination-log', hostPath: '/var/lib/kubelet/pods/p/containers/c/3c4d' },
    ],
  });
  assert.ok(isContainerAsked(made, again));
  const recorded = JSON.parse(JSON.stringify(made));
  assert.ok(isContainerAsked(recorded, again), 'also from its record');
  for (const phase of ['creating', 'running', 'exited', 'removing'])
    assert.ok(!isContainerAsked(containerIs(phase, container()), again), phase);
});

const otherContainers: Partially<cri.ContainerConfig>[] = [
  { image: { image: 'y' } },
  { command: ['x'] },
  { envs: [] },
  {
    envs: [
      { key: 'OWN', value: Buffer.from('2') },
      { key: 'OWN', value: Buffer.from('1') },
      { key: 'A_SERVICE_HOST', value: Buffer.from('10.0.0.1') },
      { key: 'B_SERVICE_HOST', value: Buffer.from('10.0.0.2') },
    ],
  },
  { mounts: [] },
  {
    mounts: [
      { containerPath: '/data', hostPath: '/other' },
      { containerPath: '/dev/termination-log', hostPath: '/x' },
    ],
  },
  { labels: { x: '1' } },
  { tty: true },
  { linux: { resources: { cpuShares: 2n } } },
];
for (const more of otherContainers) {
  test(`another container: ${Object.keys(more)}`, () =>
    assert.ok(!isContainerAsked(containerIs('created', container()), container(more))));
}

const pod = (more: Partially<cri.PodSandboxConfig> = {}) =>
  decodePodConfig(
    cri.PodSandboxConfig.fromPartial({
      metadata: { name: 'n', uid: 'u', namespace: 'ns' },
      labels: { a: '1', b: '2' },
      ...more,
    } as Parameters<typeof cri.PodSandboxConfig.fromPartial>[0]),
  );
const podIs = (phase: string) => ({ config: pod(), handler: '', state: { phase } }) as Pod;

test('a pod is what is asked for again while it is ready', () => {
  assert.ok(isPodAsked(podIs('ready'), pod({ labels: { b: '2', a: '1' } }), ''));
  assert.ok(isPodAsked(JSON.parse(JSON.stringify(podIs('ready'))), pod(), ''));
  assert.ok(!isPodAsked(podIs('ready'), pod({ labels: { a: '1' } }), ''));
  assert.ok(!isPodAsked(podIs('ready'), pod({ hostname: 'x' }), ''));
  assert.ok(!isPodAsked(podIs('ready'), pod(), 'runc'));
  for (const phase of ['creating', 'notReady']) assert.ok(!isPodAsked(podIs(phase), pod(), ''), phase);
});
