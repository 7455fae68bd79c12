#!/usr/bin/env node
// Runs Kubernetes' own suite of a cluster (e2e, of a release that test/kubernetes pins) on a cluster of one node, on Berth or on
// containerd, on a host of its own, and prints what became of each spec.
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { continueOnOwnHost, hostName } from '../test/harness/own-host.ts';
import { cacheFolder } from '../test/images/paths.ts';
import { runSuite } from '../test/kubernetes/ginkgo.ts';
import { apiServerImages } from '../test/kubernetes/images.ts';
import { clusterPrograms, ensureNameServer, ensureProgram, ensureSuiteProgram } from '../test/kubernetes/index.ts';
import { ControlPlane } from './cluster-parts/control-plane.ts';
import { askedOf } from './suite-parts/asked.ts';
import { report } from './suite-parts/report.ts';
import { imagePrograms, startRuntime, startSuiteRegistry } from './suite-parts/runtime.ts';

const asked = askedOf({
  name: 'cluster-suite.ts',
  focus: '\\[Conformance\\]',
  focusWords: '[Conformance]',
});

async function programs(): Promise<void> {
  for (const name of clusterPrograms) await ensureProgram(name);
  await ensureNameServer();
  for (const name of [...imagePrograms, 'sample-apiserver', 'ginkgo', 'e2e.test'] as const)
    await ensureSuiteProgram(name);
}

async function main(): Promise<number> {
  if (!asked) return 0;
  await continueOnOwnHost(programs);
  const { runtime, containerd, focus, skip, out, processes } = asked;
  const sampleApi = await ensureSuiteProgram('sample-apiserver');
  await using registry = await startSuiteRegistry(await apiServerImages(sampleApi));
  const folder = mkdtempSync(join(cacheFolder('cluster-suite'), `${runtime}-`));
  const dir = mkdtempSync(join(tmpdir(), 'cluster-'));
  await using node = await startRuntime(runtime, registry, folder, containerd);
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
