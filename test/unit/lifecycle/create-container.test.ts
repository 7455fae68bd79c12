import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import type { Caller } from '../../../src/base/caller.ts';
import { Fault } from '../../../src/base/fault.ts';
import { createContainer } from '../../../src/lifecycle/create-container.ts';
import type { ContainerConfig } from '../../../src/model/config.ts';
import type { Container } from '../../../src/model/container.ts';
import type { PodState } from '../../../src/model/pod.ts';
import { mount, container as plain, security } from '../oci/inputs.ts';
import { daemonWith, patient, podId, podIn } from './fakes.ts';

type World = Awaited<ReturnType<typeof daemonWith>>;
const config = (changes: Partial<ContainerConfig> = {}): ContainerConfig => ({ ...plain, ...changes });

/** A ready pod, and an image whose root has these users. */
async function world(): Promise<World> {
  const made = await daemonWith();
  Object.assign(made.snapshots, {
    mount: async (_: string, target: string) => {
      await made.script.say('mount');
      mkdirSync(join(target, 'etc'));
      writeFileSync(join(target, 'etc/passwd'), 'web:x:33:34::/:/bin/sh\n');
    },
  });
  return made;
}

const create = async ({ deps }: World, wanted = config(), caller: Caller = patient) =>
  createContainer(deps, { podId, config: wanted }, caller);
const only = ({ deps }: World): Container | undefined => [...deps.containers.all()][0];
const everything = ['prepare null', 'shim ensure', 'hold'];

describe('a container', () => {
  test('has a record, a root and a bundle with its process; nothing of it runs', async () => {
    const made = await world();
    const wanted = config({ security: { ...security, runAsUsername: 'web' } });
    const id = await create(made, wanted);
    assert.deepEqual(made.said.toSorted(), [...everything, 'mount'].toSorted());
    const record = made.deps.containers.get(id)!;
    assert.deepEqual([record.state, record.user], [{ phase: 'created' }, { uid: 33, gid: 34, groups: [34] }]);
    const spec = JSON.parse(readFileSync(made.deps.layout.configFile(podId, id), 'utf8'));
    assert.equal(spec.process.user.uid, 33);
    assert.deepEqual(JSON.parse(readFileSync(made.deps.layout.processFile(podId, id), 'utf8')), spec.process);
  });

  test('on the network of the host is called as that is now, not as it was when the daemon started', async () => {
    const made = await world();
    const pod = made.deps.pods.get(podId)!;
    await made.deps.pods.put({ ...pod, config: { ...pod.config, hostname: '' } });
    assert.notEqual(made.deps.host.hostname, hostname());
    const { process } = JSON.parse(readFileSync(made.deps.layout.configFile(podId, await create(made)), 'utf8'));
    assert.ok(process.env.includes(`HOSTNAME=${hostname()}`), process.env.join());
  });

  test('may have as many files open as the operator says, and raise that to what the daemon may', async () => {
    const made = await world();
    const limitsOf = async (softOpenFiles: number, name: string) => {
      Object.assign(made.deps, { settings: { ...made.deps.settings, softOpenFiles } });
      const id = await create(made, config({ metadata: { name, attempt: 0 } }));
      const { rlimits } = JSON.parse(readFileSync(made.deps.layout.configFile(podId, id), 'utf8')).process;
      return rlimits;
    };
    const limit = (soft: number) => [{ type: 'RLIMIT_NOFILE', soft, hard: made.deps.host.openFiles }];
    assert.deepEqual(await limitsOf(1024, 'a'), limit(1024));
    assert.deepEqual(await limitsOf(0, 'b'), limit(made.deps.host.openFiles));
    assert.deepEqual(await limitsOf(1e9, 'c'), limit(made.deps.host.openFiles));
  });

  test('keeps the images that are mounted in it on record before it mounts them', async () => {
    const made = await world();
    made.script.failures.set('prepare null', new Error('stop here'));
    const records: (Container | undefined)[] = [];
    made.deps.containers.listen((after) => records.push(after));
    const volume = { ...mount, hostPath: '', image: 'tools:1' };
    await assert.rejects(create(made, config({ mounts: [volume] })), /stop here/);
    assert.deepEqual(records[0]?.volumeImages, ['sha256:1']);
  });

  test('makes its pod one that somebody knows', async () => {
    const made = await world();
    made.deps.podCreations.unheard(podId);
    await create(made);
    const wanted = { what: 'Pod', key: 'p', existing: () => ({ id: podId, same: true }), make: async () => podId };
    await assert.rejects(made.deps.podCreations.create(wanted, patient), { kind: 'AlreadyExists' });
  });

  test('of a later attempt is younger, whatever the clock does', async (t) => {
    const made = await world();
    const first = await create(made);
    t.mock.timers.enable({ apis: ['Date'], now: 5 });
    const second = await create(made, config({ metadata: { name: 'app', attempt: 1 } }));
    const [one, other] = [first, second].map((id) => made.deps.containers.get(id)!.createdAt);
    assert.ok(other! > one!, `${one} ${other}`);
  });
});

describe('what is refused leaves nothing', () => {
  const down: PodState = { phase: 'notReady', released: false, reason: '', network: null };
  const cases: Record<string, { spoil?: (made: World) => unknown; wanted?: ContainerConfig; kind: string }> = {
    'no such image': { spoil: ({ images }) => Object.assign(images, { find: () => undefined }), kind: 'NotFound' },
    'a pod that is not ready': { spoil: ({ deps }) => deps.pods.put(podIn(down)), kind: 'FailedPrecondition' },
    'a pod that is not there': { spoil: ({ deps }) => deps.pods.delete(podId), kind: 'NotFound' },
    'a pod that is being made': { spoil: ({ deps }) => deps.pods.put(podIn({ phase: 'creating' })), kind: 'NotFound' },
    'privileges that the pod does not have': {
      wanted: config({ security: { ...security, privileged: true } }),
      kind: 'FailedPrecondition',
    },
    'an image volume that was not pulled': {
      spoil: ({ images }) => {
        const { find } = images as unknown as { find: (name: string) => unknown };
        Object.assign(images, { find: (name: string) => (name === 'tools:1' ? undefined : find(name)) });
      },
      wanted: config({ mounts: [{ ...mount, hostPath: '', image: 'tools:1' }] }),
      kind: 'NotFound',
    },
  };
  for (const [name, { spoil, wanted, kind }] of Object.entries(cases)) {
    test(name, async () => {
      const made = await world();
      await spoil?.(made);
      await assert.rejects(create(made, wanted), { kind });
      assert.deepEqual([made.said, only(made)], [[], undefined]);
    });
  }

  test('a pod that is stopped while the call waits for it', async () => {
    const made = await world();
    const stop = await made.deps.locks.hold(podId);
    const created = create(made);
    await made.deps.pods.put(podIn(down));
    stop[Symbol.dispose]();
    await assert.rejects(created, { kind: 'FailedPrecondition' });
    assert.deepEqual(made.said, []);
  });
});

describe('a failure in the middle', () => {
  const broken = new Fault('ResourceExhausted', 'the disk is full');
  const undone = ['forget', 'remove layer'];
  const saidOf = ({ said }: World) => said.map((word) => word.replace(/(forget|remove layer) .*/, '$1'));

  for (const part of ['prepare null', 'mount', 'shim ensure', 'hold']) {
    test(`${part}: all of it is undone, its error is told, and the next call makes it`, async () => {
      const made = await world();
      made.script.failures.set(part, broken);
      await assert.rejects(create(made), broken);
      assert.deepEqual(saidOf(made).slice(-2), undone);
      assert.equal(only(made), undefined);
      const id = await create(made);
      assert.equal(made.deps.containers.get(id)?.state.phase, 'created');
    });
  }

  test('a user that the image does not have', async () => {
    const made = await world();
    await assert.rejects(create(made, config({ security: { ...security, runAsUsername: 'nobody-at-all' } })), Fault);
    assert.deepEqual([saidOf(made).slice(-2), only(made)], [undone, undefined]);
  });

  test('nothing is undone while a part of it is still at work', async () => {
    const made = await world();
    const { promise, resolve } = Promise.withResolvers<void>();
    Object.assign(made.snapshots, {
      prepare: async () => {
        await promise;
        made.said.push('prepared');
        throw broken;
      },
    });
    // Refused at once, as this OCI runtime has no such mounts; the layer takes longer.
    const created = create(made, config({ mounts: [{ ...mount, recursiveReadOnly: true }] }));
    setImmediate(() => setImmediate(resolve));
    await assert.rejects(created, Fault);
    assert.deepEqual(saidOf(made), ['prepared', ...undone]);
  });

  test('one that cannot be undone is listed as removing, and its error is that of its making', async () => {
    const made = await world();
    made.script.failures.set('mount', broken);
    Object.assign(made.shims, { forget: () => Promise.reject(new Error('it is broken')) });
    await assert.rejects(create(made), broken);
    assert.equal(only(made)?.state.phase, 'removing');
    assert.equal(existsSync(made.deps.layout.bundle(podId, only(made)!.id)), false);
  });
});

describe('a second call', () => {
  test('joins the first, and makes nothing of its own', async () => {
    const made = await world();
    const [one, other] = await Promise.all([create(made), create(made)]);
    assert.equal(one, other);
    assert.equal(made.said.filter((word) => word === 'mount').length, 1);
  });

  test('after the answer is a duplicate; after a cancel it is given what was made', async () => {
    const made = await world();
    const caller = new AbortController();
    const left = create(made, config(), { ...patient, signal: caller.signal });
    caller.abort(new Error('client left'));
    await assert.rejects(left, /client left/);
    const id = await create(made);
    assert.equal(made.said.filter((word) => word === 'mount').length, 1);
    assert.equal(only(made)?.id, id);
    await assert.rejects(create(made), { kind: 'AlreadyExists' });
  });

  test('of the same name that wants something else is refused', async () => {
    const made = await world();
    const left = AbortSignal.timeout(0);
    await create(made, config(), { ...patient, signal: left }).catch(() => {});
    await assert.rejects(create(made, config({ tty: true })), {
      kind: 'AlreadyExists',
      message: /is not what this request asks for/,
    });
  });
});
