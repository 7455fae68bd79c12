#!/usr/bin/env node
// Runs containerd's own tests of CRI (those that only ask a runtime that is there) on Berth or on containerd, on a host of its own,
// and prints what became of each.
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { continueOnOwnHost } from '../test/harness/own-host.ts';
import { pushImage, startTestRegistry } from '../test/images/index.ts';
import { cacheFolder } from '../test/images/paths.ts';
import { criImages, imageList } from '../test/peers/cri/images.ts';
import { ensureCriTests, runCriTests } from '../test/peers/cri/suite.ts';
import { oneOf, optionsOf } from './options.ts';
import { containerdSocket, runtimes, startRuntime } from './suite-parts/runtime.ts';

const usage = `usage: cri-suite.ts [--runtime crun|runc|containerd] [--containerd FOLDER] [--run REGEX] [--out FILE]
  --runtime    Berth's OCI runtime (default crun); containerd: Debian's in Berth's place, for comparison
  --containerd the folder of another containerd than Debian's
  --run        only tests whose name matches
  --out        writes a line for each test that ran: passed, failed or skipped, and its name`;

const { values } = optionsOf('node scripts/cri-suite.ts --help', {
  options: {
    runtime: { type: 'string', default: 'crun' },
    containerd: { type: 'string', default: '' },
    run: { type: 'string', default: '' },
    out: { type: 'string', default: '' },
    help: { type: 'boolean', default: false },
  },
});

/** Where tests look: for addresses where the plugin keeps account of them by default, for mapped mounts where its runner has containerd. */
function prepareHost(ipamDir: string): void {
  mkdirSync('/var/lib/containerd-test', { recursive: true });
  for (const path of [ipamDir, '/var/lib/cni']) mkdirSync(path, { recursive: true });
  execFileSync('/usr/bin/mount', ['--bind', ipamDir, '/var/lib/cni']);
}

async function main(): Promise<number> {
  if (values.help) {
    console.log(usage);
    return 0;
  }
  const runtime = oneOf('runtime', values.runtime, runtimes);
  await continueOnOwnHost(ensureCriTests);
  await using registry = await startTestRegistry();
  for (const image of await criImages()) await pushImage(registry.address, image);
  const folder = mkdtempSync(join(cacheFolder('cri-suite'), `${runtime}-`));
  await using node = await startRuntime(runtime, registry, folder, values.containerd);
  prepareHost(node.ipamDir);
  const [list, log] = [join(folder, 'images.toml'), join(folder, 'tests.log')];
  writeFileSync(list, imageList(registry.address));
  const verdicts = await runCriTests({ socket: containerdSocket, list, log, only: values.run });
  const lines = verdicts.map(({ state, name }) => `${state} ${name}`);
  if (values.out !== '') writeFileSync(values.out, `${lines.sort().join('\n')}\n`);
  const count = (state: string) => verdicts.filter((verdict) => verdict.state === state).length;
  for (const line of lines) if (line.startsWith('failed')) console.log(line);
  console.log(`${folder} has the logs`);
  console.log(`${runtime}: ${count('passed')} passed, ${count('failed')} failed, ${count('skipped')} skipped`);
  return count('failed') > 0 || count('passed') === 0 ? 1 : 0;
}

process.exit(await main());
