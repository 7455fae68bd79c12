// Row 19: another build of the daemon over the shims, records and layers of this one, and back. Containers go on with their
// pids, and everything that a client does with their pods works, whichever build made them.
import assert from 'node:assert/strict';
import { resolve } from 'node:path';
import { TestDaemon } from '../harness/daemon.ts';
import { assertNoLeak, footprint } from '../harness/leak-check.ts';
import { hostNetwork, inUserNamespace, TestPod, untilExited } from '../harness/pods.ts';
import { endTestRegistry, pullTestImages } from '../harness/suite.ts';

type Made = {
  readonly by: string;
  readonly pod: TestPod;
  readonly running: string;
  readonly created: string;
  readonly pid: number;
};

const kinds = { networked: {}, host: hostNetwork, mapped: inUserNamespace() } as const;

async function pidOf(daemon: TestDaemon, containerId: string): Promise<number> {
  const { info } = await daemon.runtime.containerStatus({ containerId, verbose: true });
  return JSON.parse(info.info!).pid;
}

/** Pods of every kind, with a container that runs and one that does not yet. */
async function populate(daemon: TestDaemon, image: string, by: string): Promise<Made[]> {
  const made: Made[] = [];
  for (const [kind, config] of Object.entries(kinds)) {
    const pod = await TestPod.run(daemon, `${by}-${kind}`, config);
    const script = 'trap "exit 3" TERM; n=0; while :; do echo $n; n=$((n + 1)); sleep 0.1; done';
    const running = await pod.talking('running', image, script, config);
    const created = await pod.create('created', image, { command: ['/bin/true'], ...config });
    made.push({ by, pod, running, created, pid: await pidOf(daemon, running) });
  }
  return made;
}

/** It is what it was, and does what it should. */
async function works(daemon: TestDaemon, { pod, running, pid }: Made): Promise<void> {
  assert.equal(await pidOf(daemon, running), pid, 'the same process');
  const { exitCode } = await daemon.runtime.execSync({ containerId: running, cmd: ['/bin/true'], timeout: 30n });
  assert.equal(exitCode, 0);
  await daemon.runtime.reopenContainerLog({ containerId: running });
  await daemon.runtime.updateContainerResources({ containerId: running, linux: { cpuShares: 500n } });
  const { stats } = await daemon.runtime.containerStats({ containerId: running });
  assert.ok(Number(stats?.memory?.workingSetBytes?.value ?? 0) > 0);
  const lines = pod.log('running').map(({ text }) => Number(text));
  assert.deepEqual(lines, [...lines.keys()], 'no line lost, doubled or torn');
}

async function ends(daemon: TestDaemon, { pod, running, created }: Made): Promise<void> {
  await daemon.runtime.startContainer({ containerId: created });
  assert.equal((await untilExited(daemon, created)).exitCode, 0);
  await daemon.runtime.stopContainer({ containerId: running, timeout: 30n });
  assert.equal((await untilExited(daemon, running)).exitCode, 3);
  await pod.remove();
}

/**
 * `other`: the folder of another checkout whose C is built. Pods are made by each build, live under both in turn, `rounds`
 * times, and end under the one that did not make them.
 */
export async function upgrade(
  other: string,
  rounds: number,
): Promise<{ rounds: number; changes: number; pods: number }> {
  const builds = { other: resolve(other, 'src/main.ts'), own: resolve(import.meta.dirname, '../../src/main.ts') };
  const options = { main: builds.other };
  const daemon = new TestDaemon(options);
  let by: keyof typeof builds = 'other';
  await daemon.start();
  const change = async (how: 'stop' | 'kill') => {
    by = by === 'own' ? 'other' : 'own';
    await daemon[how]();
    options.main = builds[by];
    await daemon.start();
  };
  try {
    const image = (await pullTestImages(daemon)).busybox;
    await change('stop');
    await change('stop'); // each build has made its own folders
    const clean = footprint(daemon);
    for (let round = 0; round < rounds; round++) {
      const first = await populate(daemon, image, `r${round}-${by}`);
      await change(round % 2 === 0 ? 'stop' : 'kill');
      const second = await populate(daemon, image, `r${round}-${by}`);
      for (const each of [...first, ...second]) await works(daemon, each);
      await change('kill');
      for (const each of [...first, ...second]) await works(daemon, each);
      for (const each of second) await ends(daemon, each);
      await change('stop');
      for (const each of first) await works(daemon, each);
      for (const each of first) await ends(daemon, each);
    }
    assertNoLeak(clean, footprint(daemon));
    return { rounds, changes: rounds * 3, pods: rounds * 6 };
  } finally {
    if (by === 'other') await change('stop');
    await daemon.dispose();
    await endTestRegistry();
  }
}
