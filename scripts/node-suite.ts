#!/usr/bin/env node
// Runs Kubernetes' own suite of a node (e2e_node, of a release that test/kubernetes pins) on Berth or on containerd, on a host of
// its own, and prints what became of each spec.
import { mkdirSync, mkdtempSync, readdirSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { cgroupV2 } from '../test/harness/cgroups.ts';
import { continueOnOwnHost } from '../test/harness/own-host.ts';
import { cacheFolder } from '../test/images/paths.ts';
import { ensureKubelet, ensureSuiteProgram } from '../test/kubernetes/index.ts';
import { runNodeSuite } from '../test/kubernetes/node-suite.ts';
import { askedOf } from './suite-parts/asked.ts';
import { report } from './suite-parts/report.ts';
import { imagePrograms, startRuntime, startSuiteRegistry } from './suite-parts/runtime.ts';

const asked = askedOf({
  name: 'node-suite.ts',
  focus: '\\[NodeConformance\\]',
  focusWords: '\\[NodeConformance\\]',
});

async function programs(): Promise<void> {
  await ensureKubelet();
  for (const name of [...imagePrograms, 'ginkgo', 'e2e_node.test'] as const) await ensureSuiteProgram(name);
}

/** Where the suite tells kubelet that the runtime is; kubelet's summary shows what it uses. */
const runtimeCgroup = 'docker-daemon';

/** Moves this process, with what it starts from now on, to a cgroup, or to the root: what memory is used counts where it began. */
function moveToCgroup(name: string): void {
  for (const hierarchy of cgroupV2 ? [''] : ['cpu', 'cpuacct', 'memory']) {
    const folder = join('/sys/fs/cgroup', hierarchy, name);
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, 'cgroup.procs'), `${process.pid}`);
  }
}

/** What kubelet made and leaves, and the runtime's. */
function removeCgroups(): void {
  for (const hierarchy of cgroupV2 ? [''] : readdirSync('/sys/fs/cgroup')) {
    for (const name of ['kubepods/burstable', 'kubepods/besteffort', 'kubepods', 'kubelet', 'system', runtimeCgroup]) {
      try {
        rmdirSync(join('/sys/fs/cgroup', hierarchy, name));
      } catch {} // it is not there, or somebody else's
    }
  }
}

async function main(): Promise<number> {
  if (!asked) return 0;
  const { runtime, containerd, focus, skip, out, processes } = asked;
  await continueOnOwnHost(programs);
  await using registry = await startSuiteRegistry();
  using _ = { [Symbol.dispose]: removeCgroups };
  const folder = mkdtempSync(join(cacheFolder('node-suite'), `${runtime}-`));
  moveToCgroup(runtimeCgroup);
  await using node = await startRuntime(runtime, registry, folder, containerd);
  moveToCgroup('');
  const specs = await runNodeSuite(node.socket, { folder, focus, skip, processes });
  return report(specs, { folder, out, title: `e2e_node on ${runtime}` });
}

process.exit(await main());
