#!/usr/bin/env node
// Runs Kubernetes' own suite of a cluster (e2e, of the release that test/kubernetes pins) on a cluster of one node, on Berth or on
// containerd, on a host of its own, and prints what became of each spec.
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { continueOnOwnHost, hostName } from '../test/harness/own-host.ts';
import { cacheFolder } from '../test/images/paths.ts';
import { runSuite } from '../test/kubernetes/ginkgo.ts';
import { clusterPrograms, ensureNameServer, ensureProgram, ensureSuiteProgram } from '../test/kubernetes/index.ts';
import { ControlPlane } from './cluster-parts/control-plane.ts';
import { countOf, oneOf, optionsOf } from './options.ts';
import { report } from './suite-parts/report.ts';
import { imagePrograms, runtimes, startRuntime, startSuiteRegistry } from './suite-parts/runtime.ts';

const usage = `usage: cluster-suite.ts [--runtime crun|runc|containerd] [--focus REGEX]... [--skip REGEX]... [--processes N] [--out FILE]
  --runtime    Berth's OCI runtime (default crun); containerd: Debian's in Berth's place, for comparison
  --containerd the folder of another containerd than Debian's
  --focus      only specs whose name matches (default [Conformance] of sig-node, sig-network, sig-storage and sig-apps)
  --skip       none of these (default \\[Serial\\] and \\[Slow\\])
  --processes  that run specs at once (default 4)
  --out        writes a line for each spec that ran: passed or failed, and its name`;

const { values } = optionsOf('node scripts/cluster-suite.ts --help', {
  options: {
    runtime: { type: 'string', default: 'crun' },
    containerd: { type: 'string', default: '' },
    focus: { type: 'string', multiple: true, default: ['\\[sig-(node|network|storage|apps)\\].*\\[Conformance\\]'] },
    skip: { type: 'string', multiple: true, default: ['\\[Serial\\]', '\\[Slow\\]'] },
    processes: { type: 'string', default: '4' },
    out: { type: 'string', default: '' },
    help: { type: 'boolean', default: false },
  },
});
const runtime = oneOf('runtime', values.runtime, runtimes);

async function programs(): Promise<void> {
  for (const name of clusterPrograms) await ensureProgram(name);
  await ensureNameServer();
  for (const name of [...imagePrograms, 'ginkgo', 'e2e.test'] as const) await ensureSuiteProgram(name);
}

async function main(): Promise<number> {
  if (values.help) {
    console.log(usage);
    return 0;
  }
  await continueOnOwnHost(programs);
  const { focus, skip, out } = values;
  const processes = countOf('processes', values.processes);
  await using registry = await startSuiteRegistry();
  const folder = mkdtempSync(join(cacheFolder('cluster-suite'), `${runtime}-`));
  const dir = mkdtempSync(join(tmpdir(), 'cluster-'));
  await using node = await startRuntime(runtime, registry, folder, values.containerd);
  const cluster = new ControlPlane({ folder, dir: join(dir, 'cluster'), podCidr: node.subnet });
  await cluster.start();
  const kubelet = await cluster.startNode({ dir, name: `bt${hostName}xsuite`, socket: node.socket });
  const kubectl = await ensureProgram('kubectl');
  const flags = [
    '--provider=skeleton',
    `--kubeconfig=${cluster.kubeconfig}`,
    `--kubectl-path=${kubectl}`,
    `--kubelet-root-dir=${join(kubelet.dir, 'root')}`,
    `--e2e-output-dir=${folder}`,
  ];
  const specs = await runSuite({ name: 'e2e.test', flags, programs: { kubectl } }, { folder, focus, skip, processes });
  await kubelet.dispose();
  return report(specs, { folder, out, title: `e2e on ${runtime}` });
}

process.exit(await main());
