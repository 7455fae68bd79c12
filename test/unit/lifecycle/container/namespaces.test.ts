import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Fault } from '../../../../src/base/fault.ts';
import { namespacePaths } from '../../../../src/lifecycle/container/namespaces.ts';
import type { Namespaces } from '../../../../src/model/config.ts';
import type { ContainerId, PodId } from '../../../../src/model/ids.ts';
import { hostNamespaces, container as plain, podNamespaces, security } from '../../oci/inputs.ts';
import { containerId, containerIn, daemonWith, exited, pausePid, podId, podIn, ready, running } from '../fakes.ts';

const otherId = 'd'.repeat(64) as ContainerId;
const wanting = (namespaces: Partial<Namespaces>) => {
  const config = { ...plain, security: { ...security, namespaces: { ...podNamespaces, ...namespaces } } };
  return containerIn({ phase: 'creating' }, containerId, { config });
};
const podWith = (namespaces: Namespaces) => {
  const { config } = podIn(ready);
  return podIn(ready, { config: { ...config, security: { ...config.security, namespaces } } });
};

describe('what a container shares with its pod', () => {
  const cases: Record<string, { own: Namespaces; pid: Namespaces['pid']; expected: object }> = {
    'all but its processes': {
      own: podNamespaces,
      pid: 'container',
      expected: { uts: '/proc//1/fd/1', ipc: '/proc//1/fd/2', user: '', pid: '' },
    },
    'its processes too': {
      own: podNamespaces,
      pid: 'pod',
      expected: { uts: '/proc//1/fd/1', ipc: '/proc//1/fd/2', user: '', pid: '/proc//1/fd/3' },
    },
    "nothing, where all is the host's": {
      own: hostNamespaces,
      pid: 'node',
      expected: { network: '', uts: '', ipc: '', user: '', pid: '' },
    },
  };
  for (const [name, { own, pid, expected }] of Object.entries(cases)) {
    test(name, async () => {
      const { deps } = await daemonWith();
      const paths = await namespacePaths(deps, podWith(own), wanting({ pid }));
      assert.deepEqual(paths, { network: deps.layout.netns(podId), ...expected });
    });
  }

  test('by the pid of the pause process, with a shim of an earlier build', async () => {
    const world = await daemonWith();
    world.script.failures.set('hold', new Fault('Unimplemented', 'ENOSYS'));
    const { ipc } = await namespacePaths(world.deps, podIn(ready), wanting({}));
    assert.equal(ipc, `/proc/${pausePid}/ns/ipc`);
  });

  test('is asked of a shim that answers, or it is no container', async () => {
    const world = await daemonWith();
    world.script.failures.set('hold', new Fault('Unavailable', 'the shim was lost'));
    await assert.rejects(namespacePaths(world.deps, podIn(ready), wanting({})), { kind: 'Unavailable' });
  });
});

describe('the processes of another container', () => {
  const target = (changes: object) => containerIn(running, otherId, changes);
  const cases = {
    'that runs in the pod': { found: target({}), kind: null },
    'of another pod': { found: target({ podId: 'b'.repeat(64) as PodId }), kind: 'NotFound' },
    'that is not there': { found: null, kind: 'NotFound' },
    'that has ended': { found: target({ state: exited }), kind: 'FailedPrecondition' },
  };
  for (const [name, { found, kind }] of Object.entries(cases)) {
    test(`${name}: ${kind ?? 'shared'}`, async () => {
      const world = await daemonWith({ containers: found ? [found] : [] });
      const paths = namespacePaths(world.deps, podIn(ready), wanting({ pid: 'target', targetId: otherId }));
      if (kind) await assert.rejects(paths, { kind });
      else assert.equal((await paths).pid, '/proc//1/fd/3');
    });
  }
});
