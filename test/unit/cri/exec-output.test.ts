import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ExecSyncResponse } from '../../../src/api/runtime/v1/cri.ts';
import { fitting } from '../../../src/cri/exec-output.ts';

const kubeletTakes = 16 * 1024 * 1024;

const cases: [stdout: number, stderr: number, keptOfStdout: number, keptOfStderr: number][] = [
  [0, 0, 0, 0],
  [10, 0, 10, 0],
  [60, 40, 60, 40],
  [70, 40, 60, 40],
  [200, 0, 100, 0],
  [0, 200, 0, 100],
  [200, 200, 50, 50],
  [30, 200, 30, 70],
];
for (const [stdout, stderr, keptOfStdout, keptOfStderr] of cases) {
  test(`of ${stdout} and ${stderr} bytes ${keptOfStdout} and ${keptOfStderr} fit into 100`, () => {
    const kept = fitting({ stdout: Buffer.alloc(stdout), stderr: Buffer.alloc(stderr) }, 100);
    assert.deepEqual([kept.stdout.length, kept.stderr.length], [keptOfStdout, keptOfStderr]);
  });
}

test('the largest answer is one that kubelet takes, and loses next to nothing', () => {
  const most = Buffer.alloc(kubeletTakes, 'x');
  for (const output of [
    { stdout: most, stderr: most },
    { stdout: most, stderr: Buffer.alloc(0) },
  ]) {
    const { length } = ExecSyncResponse.encode({ ...fitting(output), exitCode: -1 }).finish();
    assert.ok(length <= kubeletTakes && length > kubeletTakes - 100, `${length}`);
  }
});
