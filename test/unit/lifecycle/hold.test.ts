import assert from 'node:assert/strict';
import { test } from 'node:test';
import { holdContainer, holdPod, mustExist } from '../../../src/lifecycle/hold.ts';
import { containerId, containerIn, daemonOf, podId, running } from './fakes.ts';

test('an object is found by its id or a beginning of it, and held until it is let go', async () => {
  const { deps } = await daemonOf(containerIn(running), null);
  const order: string[] = [];
  const first = await holdContainer(deps, containerId.slice(0, 12));
  const second = holdContainer(deps, containerId).then((held) => {
    order.push('second');
    return held;
  });
  assert.equal(first!.value.id, containerId);
  const pod = await holdPod(deps, podId);
  order.push('first lets go');
  first![Symbol.dispose]();
  (await second)![Symbol.dispose]();
  pod![Symbol.dispose]();
  assert.deepEqual(order, ['first lets go', 'second']);
});

test('what is held is what it is when the lock is there', async () => {
  const { deps } = await daemonOf(containerIn({ phase: 'created' }), null);
  const earlier = await deps.locks.hold(containerId);
  const held = holdContainer(deps, containerId);
  await deps.containers.put(containerIn(running));
  earlier[Symbol.dispose]();
  assert.equal((await held)!.value.state.phase, 'running');
});

test('what went away meanwhile is not held, and neither is its lock', async () => {
  const { deps } = await daemonOf(containerIn(running), null);
  const earlier = await deps.locks.hold(containerId);
  const held = holdContainer(deps, containerId);
  await deps.containers.delete(containerId);
  earlier[Symbol.dispose]();
  assert.equal(await held, null);
  (await deps.locks.hold(containerId))[Symbol.dispose]();
  assert.throws(() => mustExist(null, 'container', 'c1'), { kind: 'NotFound', message: /No container "c1"/ });
});
