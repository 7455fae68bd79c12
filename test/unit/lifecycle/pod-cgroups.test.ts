import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { containerCgroup, pauseCgroup } from '../../../src/lifecycle/pod/cgroups.ts';
import type { ContainerId } from '../../../src/model/ids.ts';
import { podId, podIn, resolvedHandler } from './fakes.ts';

const state = { phase: 'notReady', released: false, reason: '', network: null } as const;
const id = 'c'.repeat(64) as ContainerId;
const systemd = { cgroup: 'kubepods-pod1.slice', resolvedHandler: { ...resolvedHandler, systemdCgroup: true } };

describe('where the cgroups of a pod are', () => {
  const cases = [
    { what: 'a path', pod: podIn(state, { cgroup: '/kubepods/pod1', scopePrefix: 'x' }), below: '/kubepods/pod1/' },
    { what: 'a scope', pod: podIn(state, { ...systemd, scopePrefix: 'cri-x' }), below: 'kubepods-pod1.slice:cri-x:' },
    { what: 'a scope of a record of before', pod: podIn(state, systemd), below: 'kubepods-pod1.slice:berth:' },
  ];
  for (const { what, pod, below } of cases) {
    test(what, () => {
      assert.equal(containerCgroup(pod, id), `${below}${id}`);
      assert.equal(pauseCgroup(pod), `${below}${podId}`);
    });
  }
});
