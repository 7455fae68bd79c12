#!/usr/bin/env node
// Runs Kubernetes' own suite of a node (e2e_node, of a release that test/kubernetes pins) on Berth or on containerd, on a host of
// its own, and prints what became of each spec.
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, rmdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Spec } from '../test/conformance/report.ts';
import { cgroupV2 } from '../test/harness/cgroups.ts';
import { continueOnOwnHost, inMachine } from '../test/harness/own-host.ts';
import type { Registry } from '../test/images/index.ts';
import { cacheFolder } from '../test/images/paths.ts';
import { runNodeSuite, runtimeCgroup } from '../test/kubernetes/node-suite.ts';
import { type Asked, askedOf } from './suite-parts/asked.ts';
import { nodeSuite, nodeSuitePrograms } from './suite-parts/node.ts';
import { report } from './suite-parts/report.ts';
import { startRuntime, startSuiteRegistry } from './suite-parts/runtime.ts';

const asked = askedOf(nodeSuite);

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
    for (const name of [
      'kubepods/burstable',
      'kubepods/besteffort',
      'kubepods',
      'kubelet.slice',
      'system',
      runtimeCgroup,
    ]) {
      try {
        rmdirSync(join('/sys/fs/cgroup', hierarchy, name));
      } catch {} // it is not there, or somebody else's
    }
  }
}

/** On a host of its own, whose cgroups are this machine's. */
async function runHere(folder: string, registry: Registry, { runtime, containerd, ...choice }: Asked): Promise<Spec[]> {
  using _ = { [Symbol.dispose]: removeCgroups };
  moveToCgroup(runtimeCgroup);
  await using node = await startRuntime(runtime, registry, folder, containerd);
  moveToCgroup('');
  return await runNodeSuite(node.socket, { folder, ...choice });
}

/** In the machine of test/vm, where systemd has the cgroups, and a unit the runtime. Its disk goes with it, but for what is copied. */
async function runInside(kept: string, registry: Registry, { runtime, containerd, ...choice }: Asked): Promise<Spec[]> {
  const folder = mkdtempSync(join(tmpdir(), 'node-suite-'));
  try {
    await using node = await startRuntime(runtime, registry, folder, containerd);
    return await runNodeSuite(node.socket, { folder, ...choice });
  } finally {
    for (const { name } of readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isFile()))
      copyFileSync(join(folder, name), join(kept, name));
  }
}

async function main(): Promise<number> {
  if (!asked) return 0;
  await continueOnOwnHost(nodeSuitePrograms);
  await using registry = await startSuiteRegistry();
  const { runtime, out } = asked;
  const folder = mkdtempSync(join(cacheFolder('node-suite'), `${runtime}-`));
  const specs = await (inMachine ? runInside : runHere)(folder, registry, asked);
  return report(specs, { folder, out, title: `e2e_node on ${runtime}` });
}

process.exit(await main());
