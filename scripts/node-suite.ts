#!/usr/bin/env node
// Runs Kubernetes' own suite of a node (e2e_node, of the release that test/kubernetes pins) on Berth or on containerd, on a host of
// its own, and prints what became of each spec.
import { mkdirSync, mkdtempSync, readdirSync, rmdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { writeMirrors } from '../test/conformance/mirrors.ts';
import { startContainerd, suiteHandler } from '../test/conformance/peer.ts';
import type { Spec } from '../test/conformance/report.ts';
import { cgroupV2 } from '../test/harness/cgroups.ts';
import { TestDaemon } from '../test/harness/daemon.ts';
import { continueOnOwnHost } from '../test/harness/own-host.ts';
import { pushImage, type Registry, startTestRegistry } from '../test/images/index.ts';
import { cacheFolder } from '../test/images/paths.ts';
import { program } from '../test/images/run.ts';
import { suiteImages } from '../test/kubernetes/images.ts';
import { ensureKubelet, ensureSuiteProgram, kubernetesVersion } from '../test/kubernetes/index.ts';
import { runNodeSuite } from '../test/kubernetes/node-suite.ts';
import { countOf, oneOf, optionsOf } from './options.ts';

const usage = `usage: node-suite.ts [--runtime crun|runc|containerd] [--focus REGEX]... [--skip REGEX]... [--processes N] [--out FILE]
  --runtime    Berth's OCI runtime (default crun); containerd: Debian's in Berth's place, for comparison
  --containerd the folder of another containerd than Debian's
  --focus      only specs whose name matches (default \\[NodeConformance\\])
  --skip       none of these (default \\[Serial\\] and \\[Slow\\])
  --processes  that run specs at once (default 4)
  --out        writes a line for each spec that ran: passed or failed, and its name`;

const { values } = optionsOf('node scripts/node-suite.ts --help', {
  options: {
    runtime: { type: 'string', default: 'crun' },
    containerd: { type: 'string', default: '' },
    focus: { type: 'string', multiple: true, default: ['\\[NodeConformance\\]'] },
    skip: { type: 'string', multiple: true, default: ['\\[Serial\\]', '\\[Slow\\]'] },
    processes: { type: 'string', default: '4' },
    out: { type: 'string', default: '' },
    help: { type: 'boolean', default: false },
  },
});
const runtime = oneOf('runtime', values.runtime, ['crun', 'runc', 'containerd']);

async function programs(): Promise<void> {
  await ensureKubelet();
  for (const name of ['agnhost', 'nnp', 'ginkgo', 'e2e_node.test'] as const) await ensureSuiteProgram(name);
}

async function fill(registry: Registry): Promise<void> {
  const [agnhost, nnp] = [await ensureSuiteProgram('agnhost'), await ensureSuiteProgram('nnp')];
  for (const image of await suiteImages({ agnhost, nnp })) await pushImage(registry.address, image);
}

/** Where cAdvisor in kubelet asks for the labels of containers. */
const containerdSocket = '/run/containerd/containerd.sock';
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
  if (values.help) {
    console.log(usage);
    return 0;
  }
  await continueOnOwnHost(programs);
  await using registry = await startTestRegistry();
  await fill(registry);
  using _ = { [Symbol.dispose]: removeCgroups };
  moveToCgroup(runtimeCgroup);
  await using node = await startRuntime(registry);
  moveToCgroup('');
  const folder = mkdtempSync(join(cacheFolder('node-suite'), `${runtime}-`));
  const { focus, skip } = values;
  const processes = countOf('processes', values.processes);
  return report(await runNodeSuite({ socket: node.socket, folder, focus, skip, processes }), folder);
}

async function startRuntime(registry: Registry): Promise<AsyncDisposable & { readonly socket: string }> {
  if (runtime === 'containerd') {
    const peer = await startContainerd(join(cacheFolder('node-suite'), 'containerd.log'), values.containerd);
    writeMirrors(peer.certsDir, registry.address);
    mkdirSync(dirname(containerdSocket), { recursive: true });
    symlinkSync(peer.socket, containerdSocket);
    return peer;
  }
  const compat = { containerd_socket: containerdSocket };
  const handlers = { [suiteHandler]: { path: program(runtime, runtime) } };
  const daemon = new TestDaemon({ handler: runtime, settings: { compat, handlers } });
  writeMirrors(join(daemon.dir, 'certs.d'), registry.address);
  await daemon.start();
  return { socket: daemon.socket, [Symbol.asyncDispose]: () => daemon.dispose() };
}

function report(specs: readonly Spec[], folder: string): number {
  const ran = specs.filter(({ state }) => state === 'passed' || state === 'failed');
  const failed = ran.filter(({ state }) => state === 'failed');
  const lines = ran.map(({ state, name }) => `${state} ${name}`).sort();
  if (values.out !== '') writeFileSync(values.out, `${lines.join('\n')}\n`);
  for (const { name, message } of failed)
    console.log(`✖ ${name}\n    ${message.split('\n').slice(0, 6).join('\n    ')}`);
  console.log(`${folder} has the logs`);
  console.log(
    `Kubernetes ${kubernetesVersion}, e2e_node on ${runtime}: ${ran.length - failed.length} passed, ${failed.length} failed`,
  );
  return ran.length > 0 && failed.length === 0 ? 0 : 1;
}

process.exit(await main());
