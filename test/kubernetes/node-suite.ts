// Kubernetes' own suite of a node (e2e_node): it starts an API server, etcd and a kubelet, and asks them as a user would.
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Spec } from '../conformance/report.ts';
import { inMachine } from '../harness/own-host.ts';
import { runSuite, type SpecChoice } from './ginkgo.ts';
import { ensureKubelet } from './index.ts';
import { showTunables } from './tunables.ts';

const address = '10.88.0.1';
/** Where kubelet is told that the runtime is; its summary shows what that uses. */
export const runtimeCgroup = 'docker-daemon';

/** Runs the suite on this host; `socket` is the runtime's, without a scheme. */
export async function runNodeSuite(socket: string, choice: SpecChoice): Promise<Spec[]> {
  const { folder } = choice;
  addUplink();
  if (!inMachine) {
    showPlainProc(join(folder, 'proc'));
    showTunables(join(folder, 'tunables'));
  }
  const flags = [
    `--container-runtime-endpoint=unix://${socket}`,
    '--node-name=test-node',
    `--kubelet-config-file=${writeKubeletConfig(folder)}`,
    `--kubelet-flags=--node-ip=${address} --runtime-cgroups=/${inMachine ? 'system.slice/berth.service' : runtimeCgroup}`,
  ];
  const programs = { kubelet: await ensureKubelet(), ...(inMachine ? {} : standIns) };
  return runSuite({ name: 'e2e_node.test', flags, programs }, choice);
}

/** A way out, without which neither kubelet nor the API server finds its address. */
function addUplink(): void {
  const ip = (...args: string[]) => execFileSync('/usr/sbin/ip', args);
  ip('link', 'add', 'uplink', 'type', 'bridge');
  ip('addr', 'add', `${address}/24`, 'dev', 'uplink');
  ip('link', 'set', 'uplink', 'up');
  ip('route', 'add', 'default', 'via', '10.88.0.254', 'dev', 'uplink', 'onlink');
}

/**
 * One without anything mounted on it: a user namespace may have a /proc of its own where such a one is to be seen
 * (mount_namespaces(7)), and tunables are mounted on the other.
 */
function showPlainProc(folder: string): void {
  mkdirSync(folder);
  execFileSync('/usr/bin/mount', ['-t', 'proc', 'proc', folder]);
}

/** The suite has kubelet run as a unit of systemd's, and ends and begins it for many a spec. */
const standIns = Object.fromEntries(
  ['sudo', 'systemctl', 'systemd-run'].map((name) => [name, join(import.meta.dirname, 'units', name)]),
);

function writeKubeletConfig(folder: string): string {
  const file = join(folder, 'kubelet-base.yaml'); // JSON is YAML
  const settings = {
    apiVersion: 'kubelet.config.k8s.io/v1beta1',
    kind: 'KubeletConfiguration',
    cgroupDriver: inMachine ? 'systemd' : 'cgroupfs',
    cgroupRoot: '/',
    ...(inMachine ? {} : { systemCgroups: '/system' }),
    failCgroupV1: false,
    failSwapOn: false,
    protectKernelDefaults: !inMachine, // the machine's kernel is the node's to set
    fileCheckFrequency: '10s',
    volumeStatsAggPeriod: '10s',
    serializeImagePulls: false,
    evictionPressureTransitionPeriod: '30s',
    evictionHard: { 'memory.available': '250Mi', 'nodefs.available': '1Mi', 'imagefs.available': '1Mi' },
    imageGCHighThresholdPercent: 100,
  };
  writeFileSync(file, JSON.stringify(settings));
  return file;
}
