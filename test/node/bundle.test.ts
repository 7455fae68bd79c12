// What is shipped: one bundle, the layer worker and three native files in a folder of their own.
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { makeBundle } from '../../scripts/bundle.ts';
import { nodeFlags } from '../../src/commands/node-flags.ts';
import { TestDaemon } from '../harness/daemon.ts';
import { assertNoLeak, footprint } from '../harness/leak-check.ts';
import { ownHost } from '../harness/own-host.ts';
import { TestPod, untilExited } from '../harness/pods.ts';
import { endTestRegistry, pullTestImages } from '../harness/suite.ts';

await ownHost();

const stopAtEnd = (child: ChildProcess): Disposable => ({ [Symbol.dispose]: () => void child.kill() });

/** Whether V8 runs what was compiled when the bundle was made. */
function takesCompiled(folder: string, flags: readonly string[]): boolean {
  const ask = `const { readFileSync } = require('node:fs');
    const script = new (require('node:vm').Script)(readFileSync('berth.cjs', 'latin1'), { cachedData: readFileSync('berth.v8') });
    process.exitCode = script.cachedDataRejected ? 1 : 0`;
  return spawnSync(process.execPath, [...flags, '-e', ask], { cwd: folder }).status === 0;
}

test('the bundle pulls an image and runs a pod with nothing of the checkout, and replaces one that runs', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'berth-bundle-'));
  try {
    copyFileSync('/bin/sleep', join(folder, 'berth-shim')); // of an earlier build, with a pod of its own
    using _earlier = stopAtEnd(spawn(join(folder, 'berth-shim'), ['1000']));
    const main = makeBundle(folder);
    assert.match(execFileSync(process.execPath, [main, 'version'], { encoding: 'utf8', cwd: '/' }), /^berth \d/);
    assert.ok(
      !readFileSync(join(folder, 'berth.cjs'), 'utf8').includes('BERTH_CRASH_AT'),
      'crash points are compiled out',
    );
    assert.ok(readdirSync(folder).includes('layer-worker.cjs'));
    assert.match(readFileSync(join(folder, 'tracing.cjs'), 'utf8'), /TraceIdRatioBased/);
    for (const name of ['berth.cjs', 'layer-worker.cjs'])
      assert.doesNotMatch(readFileSync(join(folder, name), 'utf8'), /TraceIdRatioBased|@opentelemetry/, name);
    assert.ok(takesCompiled(folder, nodeFlags), 'as the daemon is started, V8 takes what was compiled');
    assert.ok(!takesCompiled(folder, ['--stress-flush-code']), 'and so the line above can fail');
    const daemon = new TestDaemon({ main });
    await daemon.start();
    try {
      const { busybox } = await pullTestImages(daemon); // by then it has asked each OCI runtime for its version
      const before = footprint(daemon);
      const pod = await TestPod.run(daemon, 'bundled');
      const id = await pod.sh('c', busybox, 'echo from the bundle; exit 3');
      assert.equal((await untilExited(daemon, id)).exitCode, 3);
      assert.deepEqual(pod.log('c'), [{ stream: 'stdout', text: 'from the bundle' }]);
      await pod.remove();
      assertNoLeak(before, footprint(daemon));
    } finally {
      await daemon.dispose();
      await endTestRegistry();
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('OpenTelemetry is read when an endpoint is set, and not before; a bundle without it serves all the same', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'berth-bundle-'));
  try {
    const main = makeBundle(folder);
    const mark = join(folder, 'was-read');
    const program = join(folder, 'tracing.cjs');
    const own = readFileSync(program, 'utf8');
    writeFileSync(program, `require('node:fs').writeFileSync(${JSON.stringify(mark)}, '');${own}`);
    const daemon = new TestDaemon({ main, network: false });
    const endpoint = (url: string) =>
      writeFileSync(join(`${daemon.configFile}.d`, 'tracing.toml'), `[tracing]\nendpoint = "${url}"\n`);
    const ask = () => daemon.runtime.stopPodSandbox({ podSandboxId: 'f'.repeat(64) });
    mkdirSync(`${daemon.configFile}.d`);
    await daemon.start();
    try {
      await ask();
      endpoint('');
      await daemon.admin.reload({});
      assert.ok(!existsSync(mark));
      endpoint('http://127.0.0.1:1');
      await daemon.admin.reload({});
      assert.ok(existsSync(mark));
      await ask();
      await daemon.stop();
      rmSync(program);
      await daemon.start();
      await ask();
      assert.ok(daemon.logged.some(({ msg }) => /cannot be told of as spans/.test(`${msg}`)));
    } finally {
      await daemon.dispose();
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
});
