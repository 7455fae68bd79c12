// Programs that belong to no pod: their caller gets an answer, whatever they leave behind.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { runHere } from '../../../src/sys/spawn.ts';

const run = (script: string, deadlineMs: number) =>
  runHere({ argv: ['/bin/sh', '-c', script], env: ['PATH=/usr/bin:/bin'], cwd: '/', deadlineMs });

/** Takes the pid that was printed away. */
const end = (stdout: Buffer) => process.kill(Number(stdout.toString()), 'SIGKILL');

describe('what is left behind in a session of its own, with the output open,', { timeout: 60_000 }, () => {
  test('does not hold up who waits for the program', async () => {
    const { code, timedOut, stdout } = await run('setsid sleep 600 & echo $!', 30_000);
    end(stdout);
    assert.deepEqual({ code, timedOut }, { code: 0, timedOut: false });
  });

  test('does not outlast the deadline either', async () => {
    const { timedOut, stdout } = await run('setsid sleep 600 & echo $!; sleep 600', 500);
    end(stdout);
    assert.equal(timedOut, true);
  });
});

test('what a program says at its end is there', async () => {
  const { code, stdout } = await run('head -c 300000 /dev/zero; exit 3', 30_000);
  assert.deepEqual([code, stdout.length], [3, 300_000]);
});

test('a program that is not there is an error', async () => {
  await assert.rejects(runHere({ argv: ['/nowhere'], env: [], cwd: '/', deadlineMs: 1000 }), { code: 'ENOENT' });
});
