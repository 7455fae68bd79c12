import assert from 'node:assert/strict';
import { test } from 'node:test';
import { log } from '../../../src/base/log.ts';
import { LogLosses } from '../../../src/lifecycle/log-losses.ts';
import type { Container } from '../../../src/model/container.ts';

const container = (id: string) =>
  ({ id, podId: 'p1', logPath: `/logs/${id}`, config: { metadata: { name: 'web', attempt: 0 } } }) as Container;
const loss = (lines: number) => ({ bytes: lines * 50, lines, error: 'ENOSPC' });

test('the first loss is said at once, and what follows once a minute, in all', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  let now = 1000;
  t.mock.method(performance, 'now', () => now);
  const said: object[] = [];
  t.mock.method(log, 'warn', (fields: object) => said.push(fields));
  const pass = (ms: number) => {
    now += ms;
    t.mock.timers.tick(ms);
  };
  const losses = new LogLosses();
  const [one, other] = [container('c1'), container('c2')];
  const line = { name: 'web', pod: 'p1', bytes: 0, error: 'ENOSPC' };
  losses.note(one, loss(3));
  losses.note(other, loss(1));
  assert.deepEqual(said, [
    { ...line, container: 'c1', logPath: '/logs/c1', lines: 3, bytes: 150 },
    { ...line, container: 'c2', logPath: '/logs/c2', lines: 1, bytes: 50 },
  ]);
  for (let lines = 4; lines < 100; lines++) {
    losses.note(one, loss(lines));
    pass(500);
  }
  losses.note(one, loss(99)); // told again
  assert.equal(said.length, 2);
  assert.deepEqual(losses.of(one.id), loss(99));
  pass(60_000);
  assert.deepEqual(said.slice(2), [{ ...line, container: 'c1', logPath: '/logs/c1', lines: 99, bytes: 4950 }]);
  pass(600_000);
  assert.equal(said.length, 3, 'nothing new is said again');
  losses.note(one, loss(100));
  losses.note(one, loss(101));
  losses.forget(one.id);
  pass(600_000);
  assert.equal(said.length, 4, 'nothing is said of one that is gone');
  assert.equal(losses.of(one.id), undefined);
});
