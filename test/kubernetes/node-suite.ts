// Kubernetes' own suite of a node (e2e_node): it starts an API server, etcd and a kubelet, and asks them as a user would.
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseReport, type Spec } from '../conformance/report.ts';
import { ensureKubelet, ensureSuiteProgram } from './index.ts';
import { showTunables } from './tunables.ts';

export type NodeSuiteOptions = {
  /** Of the runtime, without a scheme. */
  readonly socket: string;
  /** For all that the suite writes; it stays. */
  readonly folder: string;
  readonly focus: readonly string[];
  readonly skip: readonly string[];
  /** Processes that run specs at once. */
  readonly processes: number;
};

const address = '10.88.0.1';

/**
 * Runs the suite on this host, which is one of a test's own (own-host.ts). A spec that another keeps from running, and one
 * that finds the host without what it is about, is skipped.
 */
export async function runNodeSuite({ socket, folder, focus, skip, processes }: NodeSuiteOptions): Promise<Spec[]> {
  const programs = join(folder, 'bin');
  mkdirSync(programs, { recursive: true });
  const suite = join(programs, 'e2e_node.test'); // ginkgo goes by the name, and the suite finds kubelet beside itself
  symlinkSync(await ensureKubelet(), join(programs, 'kubelet'));
  symlinkSync(await ensureSuiteProgram('e2e_node.test'), suite);
  showTunables(join(folder, 'tunables'));
  prepareHost(folder);
  const ginkgo = await ensureSuiteProgram('ginkgo');
  const report = join(folder, 'report.json');
  const args = [
    `--nodes=${processes}`,
    '--no-color',
    '--timeout=5h',
    '--flake-attempts=1',
    ...focus.map((text) => `--focus=${text}`),
    ...skip.map((text) => `--skip=${text}`),
    `--output-dir=${folder}`,
    '--json-report=report.json',
    suite,
    '--',
    `--container-runtime-endpoint=unix://${socket}`,
    `--report-dir=${folder}`,
    '--prepull-images=false',
    '--node-name=test-node',
    `--kubelet-config-file=${writeKubeletConfig(folder)}`,
    `--kubelet-flags=--node-ip=${address}`,
  ];
  const log = openSync(join(folder, 'suite.log'), 'w');
  const child = spawn(ginkgo, args, {
    cwd: folder,
    stdio: ['ignore', log, log],
    env: { PATH: `${programs}:/usr/sbin:/usr/bin:/sbin:/bin`, HOME: folder, TMPDIR: folder },
  });
  await once(child, 'close');
  closeSync(log);
  if (!existsSync(report)) throw new Error(`The suite left no report: see ${folder}`);
  return parseReport(readFileSync(report, 'utf8'));
}

/** A way out, without which neither kubelet nor the API server finds its address; and no systemd, which is not in this namespace. */
function prepareHost(folder: string): void {
  const ip = (...args: string[]) => execFileSync('/usr/sbin/ip', args);
  ip('link', 'add', 'uplink', 'type', 'bridge');
  ip('addr', 'add', `${address}/24`, 'dev', 'uplink');
  ip('link', 'set', 'uplink', 'up');
  ip('route', 'add', 'default', 'via', '10.88.0.254', 'dev', 'uplink', 'onlink');
  const nothing = join(folder, 'no-program');
  writeFileSync(nothing, '');
  for (const path of ['/usr/bin/systemd-run', '/usr/bin/systemctl'])
    if (existsSync(path)) execFileSync('/usr/bin/mount', ['--bind', nothing, path]);
}

function writeKubeletConfig(folder: string): string {
  const file = join(folder, 'kubelet-base.yaml'); // JSON is YAML
  const settings = {
    apiVersion: 'kubelet.config.k8s.io/v1beta1',
    kind: 'KubeletConfiguration',
    cgroupDriver: 'cgroupfs',
    cgroupRoot: '/',
    failCgroupV1: false,
    failSwapOn: false,
    protectKernelDefaults: true,
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
