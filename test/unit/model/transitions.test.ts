import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  type Container,
  type ContainerEvent,
  type ContainerState,
  containerAfter,
} from '../../../src/model/container.ts';
import { type Pod, type PodEvent, type PodState, podAfter, podKey } from '../../../src/model/pod.ts';

const exit = { code: 7, reason: 'Error', message: '', at: 50 } as const;
const other = { code: 255, reason: 'ContainerStatusUnknown', message: 'never ran', at: 0 } as const;

describe('containerAfter', () => {
  const running = { phase: 'running', pid: 5, startedAt: 40 } as const;
  const exited = { phase: 'exited', startedAt: 40, exit } as const;
  const cases: { name: string; from: ContainerState; event: ContainerEvent; to: ContainerState | null }[] = [
    { name: 'creating is created', from: { phase: 'creating' }, event: { type: 'created' }, to: { phase: 'created' } },
    { name: 'running cannot be created', from: running, event: { type: 'created' }, to: null },
    { name: 'created is started', from: { phase: 'created' }, event: { type: 'started', pid: 5, at: 40 }, to: running },
    { name: 'creating cannot start', from: { phase: 'creating' }, event: { type: 'started', pid: 5, at: 1 }, to: null },
    { name: 'exited cannot start', from: exited, event: { type: 'started', pid: 5, at: 1 }, to: null },
    { name: 'running ends', from: running, event: { type: 'ended', exit }, to: exited },
    {
      name: 'created ends without a start',
      from: { phase: 'created' },
      event: { type: 'ended', exit },
      to: { phase: 'exited', startedAt: 0, exit },
    },
    { name: 'the first end counts', from: exited, event: { type: 'ended', exit: other }, to: exited },
    {
      name: 'an end before the recorded start moves the start',
      from: { ...running, startedAt: 60 },
      event: { type: 'ended', exit },
      to: { phase: 'exited', startedAt: 50, exit },
    },
    {
      name: 'exited is removed with its facts',
      from: exited,
      event: { type: 'remove' },
      to: { phase: 'removing', startedAt: 40, exit },
    },
    {
      name: 'creating is removed',
      from: { phase: 'creating' },
      event: { type: 'remove' },
      to: { phase: 'removing', startedAt: 0, exit: other },
    },
  ];
  for (const { name, from, event, to } of cases) {
    test(name, () => {
      const container = { id: 'c', state: from } as Container;
      if (to) assert.deepEqual(containerAfter(container, event), { id: 'c', state: to });
      else assert.throws(() => containerAfter(container, event), /cannot happen/);
    });
  }
});

describe('podAfter', () => {
  const network = { ips: ['10.0.0.1'], result: {} };
  const ready = { phase: 'ready', pausePid: 9, network } as const;
  const cases: { name: string; from: PodState; event: PodEvent; to: PodState | null }[] = [
    { name: 'creating comes up', from: { phase: 'creating' }, event: { type: 'up', pausePid: 9, network }, to: ready },
    { name: 'ready cannot come up', from: ready, event: { type: 'up', pausePid: 9, network }, to: null },
    {
      name: 'ready goes down, its addresses stay known',
      from: ready,
      event: { type: 'down', reason: 'x' },
      to: { phase: 'notReady', released: false, reason: 'x', network },
    },
    {
      name: 'creating does not go down',
      from: { phase: 'creating' },
      event: { type: 'down', reason: 'x' },
      to: { phase: 'creating' },
    },
    {
      name: 'ready is released',
      from: ready,
      event: { type: 'released', reason: 's' },
      to: { phase: 'notReady', released: true, reason: 's', network },
    },
  ];
  for (const { name, from, event, to } of cases) {
    test(name, () => {
      const pod = { id: 'p', state: from } as Pod;
      if (to) assert.deepEqual(podAfter(pod, event), { id: 'p', state: to });
      else assert.throws(() => podAfter(pod, event), /cannot happen/);
    });
  }

  test('podKey holds apart what a separator would mix up', () => {
    const key = (name: string, namespace: string) =>
      podKey({ metadata: { name, namespace, uid: 'u', attempt: 0 } } as Pod['config']);
    assert.notEqual(key('a_b', 'c'), key('a', 'b_c'));
  });
});
