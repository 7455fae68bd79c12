#!/usr/bin/env node
// Runs the CRI conformance suite against Berth, or against another runtime, and compares with expected-failures.txt.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ensureSuite } from '../test/conformance/go.ts';
import { writeMirrors } from '../test/conformance/mirrors.ts';
import { startContainerd } from '../test/conformance/peer.ts';
import { judge, readExpectations, type Spec } from '../test/conformance/report.ts';
import { runShards } from '../test/conformance/suite.ts';
import { TestDaemon } from '../test/harness/daemon.ts';
import { assertNoLeak, footprint } from '../test/harness/leak-check.ts';
import { continueOnOwnHost } from '../test/harness/own-host.ts';
import { ensureTestImages, startRegistry } from '../test/images/index.ts';
import { cacheFolder } from '../test/images/paths.ts';
import { countOf, oneOf, optionsOf } from './options.ts';

const usage = `usage: conformance.ts [--runtime crun|runc|containerd] [--focus REGEX]... [--endpoint SOCKET] [--websocket] [--benchmark] [--verbose] [--seed N] [--shards N]
  --runtime   Berth's OCI runtime (default crun); containerd: Debian's containerd in Berth's place, to check the images
  --focus     only specs whose name matches; may be repeated
  --endpoint  a runtime that already serves there and can pull the test images
  --websocket exec, attach and port-forward over WebSocket instead of SPDY
  --benchmark the suite's benchmarks instead of its specs
  --seed      above 0: the specs in the random order that it stands for
  --shards    processes of the suite that run at once, each with a part of the specs (default 1)
  --verbose   the suite's own output, and the daemon's log`;

const { values } = optionsOf('node scripts/conformance.ts --help', {
  options: {
    runtime: { type: 'string', default: 'crun' },
    focus: { type: 'string', multiple: true, default: [] },
    endpoint: { type: 'string', default: '' },
    websocket: { type: 'boolean', default: false },
    benchmark: { type: 'boolean', default: false },
    verbose: { type: 'boolean', default: false },
    seed: { type: 'string', default: '0' },
    shards: { type: 'string', default: '1' },
    help: { type: 'boolean', default: false },
  },
});

const runtime = oneOf('runtime', values.runtime, ['crun', 'runc', 'containerd']);
const seed = countOf('seed', values.seed, 0);
const shards = countOf('shards', values.shards);

async function main(): Promise<number> {
  if (values.help) {
    console.log(usage);
    return 0;
  }
  if (values.endpoint !== '') return report(await run(await ensureSuite(), values.endpoint), runtime);
  await continueOnOwnHost(ensureSuite);
  return testInside();
}

async function testInside(): Promise<number> {
  const suite = await ensureSuite();
  await using registry = await startRegistry(await ensureTestImages());
  if (runtime === 'containerd') {
    await using peer = await startContainerd(join(cacheFolder('conformance'), 'containerd.log'));
    writeMirrors(peer.certsDir, registry.address);
    return report(await run(suite, peer.socket), runtime);
  }
  const certsDir = mkdtempSync(join(tmpdir(), 'berth-certs-'));
  writeMirrors(certsDir, registry.address);
  if (values.verbose) process.env.BERTH_TEST_LOG = '1';
  const daemon = new TestDaemon({ handler: runtime, settings: { images: { certs_dir: certsDir } } });
  try {
    await daemon.start();
    const before = footprint(daemon);
    const verdict = report(await run(suite, daemon.socket), runtime);
    assertNoLeak(before, footprint(daemon));
    return verdict;
  } finally {
    await daemon.dispose();
    rmSync(certsDir, { recursive: true, force: true });
  }
}

async function run(suite: string, socket: string): Promise<Spec[]> {
  const skip = readExpectations(runtime).filter(({ kind }) => kind === 'skip');
  const { focus, websocket, benchmark, verbose } = values;
  const options = { socket, handler: '', focus, skip, websocket, benchmark, verbose, seed };
  return runShards(suite, options, shards);
}

function report(specs: readonly Spec[], runtime: string): number {
  const { counts, unexpected, surprising, expected } = judge(specs, readExpectations(runtime));
  for (const { name, message } of unexpected) console.log(`FAILED      ${name}\n            ${indented(message)}`);
  for (const { name } of surprising)
    console.log(`NOW PASSES  ${name}\n            take it out of expected-failures.txt`);
  for (const { name } of expected) console.log(`expected    ${name}`);
  for (const [why, count] of skipReasons(specs)) console.log(`skipped     ${count}: ${why}`);
  const failed = unexpected.length + surprising.length;
  const also = `${counts.skipped} skipped, ${expected.length} expected to fail`;
  console.log(`conformance: ${counts.passed - surprising.length} passed, ${failed} failed, ${also} (${runtime})`);
  return failed > 0 || counts.passed + counts.failed === 0 ? 1 : 0;
}

/** Specs that the suite left out by itself, counted by the reason that it gave. */
function skipReasons(specs: readonly Spec[]): Map<string, number> {
  const reasons = new Map<string, number>();
  for (const { state, message } of specs) {
    if (state === 'skipped' && message !== '') reasons.set(message, (reasons.get(message) ?? 0) + 1);
  }
  return reasons;
}

const indented = (text: string) => text.trim().slice(0, 2000).replaceAll('\n', '\n            ');

process.exitCode = await main();
