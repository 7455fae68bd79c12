// What is shipped: one bundle, the layer worker and three native files in a folder of their own.
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { copyFileSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { makeBundle } from '../../scripts/bundle.ts';
import { TestDaemon } from '../harness/daemon.ts';
import { assertNoLeak, footprint } from '../harness/leak-check.ts';
import { ownHost } from '../harness/own-host.ts';
import { TestPod, untilExited } from '../harness/pods.ts';
import { endTestRegistry, pullTestImages } from '../harness/suite.ts';

await ownHost();

const stopAtEnd = (child: ChildProcess): Disposable => ({ [Symbol.dispose]: () => void child.kill() });

test('the bundle pulls an image and runs a pod with nothing of the checkout, and replaces one that runs', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'berth-bundle-'));
  try {
    copyFileSync('/bin/sleep', join(folder, 'berth-shim')); // of an earlier build, with a pod of its own
    using _earlier = stopAtEnd(spawn(join(folder, 'berth-shim'), ['1000']));
    const main = makeBundle(folder);
    assert.match(execFileSync(process.execPath, [main, 'version'], { encoding: 'utf8', cwd: '/' }), /^berth \d/);
    assert.ok(!readFileSync(main, 'utf8').includes('BERTH_CRASH_AT'), 'crash points are compiled out');
    assert.ok(readdirSync(folder).includes('layer-worker.mjs'));
    const daemon = new TestDaemon({ main });
    await daemon.start();
    try {
      const before = footprint(daemon);
      const { busybox } = await pullTestImages(daemon);
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
