import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Fault } from '../../../src/base/fault.ts';
import { reopenLog } from '../../../src/lifecycle/reopen-log.ts';
import { containerId, containerIn, daemonWith, exited, running } from './fakes.ts';

const refusal = (kind: 'Internal' | 'DeadlineExceeded' | 'ResourceExhausted', code: string) =>
  new Fault(kind, `The shim cannot open the log: ${code}`, { cause: Object.assign(new Error(code), { code }) });

const cases = [
  {
    name: 'a link or a file in its way',
    error: refusal('Internal', 'ELOOP'),
    kind: 'FailedPrecondition',
    message: /passes what is no directory, or a link/,
  },
  {
    name: 'a folder that is none',
    error: refusal('Internal', 'ENOTDIR'),
    kind: 'FailedPrecondition',
    message: /remove it/,
  },
  {
    name: 'a file server that does not answer',
    error: refusal('DeadlineExceeded', 'ETIMEDOUT'),
    kind: 'DeadlineExceeded',
    message: /Opening log "\/logs\/app.log" did not finish in 10 s/,
  },
  { name: 'a full disk', error: refusal('ResourceExhausted', 'ENOSPC'), kind: 'ResourceExhausted', message: /ENOSPC/ },
  {
    name: 'a shim that does not answer',
    error: new Fault('DeadlineExceeded', 'no answer'),
    kind: 'DeadlineExceeded',
    message: /no answer/,
  },
];
for (const { name, error, kind, message } of cases) {
  test(`${name}: ${kind}, in words that help`, async () => {
    const world = await daemonWith({ containers: [containerIn(running, containerId, { logPath: '/logs/app.log' })] });
    Object.assign(world.ownShim, { reopenLog: () => Promise.reject(error) });
    await assert.rejects(reopenLog(world.deps, containerId), { kind, message });
  });
}

test('a log is opened anew by the shim, with a deadline', async () => {
  const world = await daemonWith({ containers: [containerIn(running)] });
  const asked: unknown[] = [];
  Object.assign(world.ownShim, { reopenLog: async (...given: unknown[]) => void asked.push(given) });
  await reopenLog(world.deps, containerId);
  assert.deepEqual(asked, [[containerId, 10_000]]);
});

test('that of a container which has ended is not', async () => {
  const world = await daemonWith({ containers: [containerIn(exited)] });
  await assert.rejects(reopenLog(world.deps, containerId), { kind: 'FailedPrecondition' });
  await assert.rejects(reopenLog(world.deps, 'unknown'), { kind: 'NotFound' });
});
