// The log of the daemon, read by somebody who was not there.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TestDaemon } from '../harness/daemon.ts';
import { ownHost } from '../harness/own-host.ts';
import { TestPod, until, untilExited } from '../harness/pods.ts';
import { endTestRegistry, pullTestImages } from '../harness/suite.ts';

await ownHost();

type Line = Readonly<Record<string, unknown>>;
/** The lines of calls and ends, in order, each with what tells it from the others. */
const story = (lines: readonly Line[]) =>
  lines
    .filter(({ call, msg }) => call !== undefined || msg === 'A container ended')
    .map(({ level, msg, name, containerName, outcome, code }) =>
      [level === 30 ? '' : 'WARN', msg, name, containerName, outcome, code]
        .filter((part) => part !== undefined && part !== '')
        .join(' '),
    );

test("a pod's whole life, a failed call and a failed pull are told, a line each", async () => {
  const daemon = new TestDaemon({});
  await daemon.start();
  try {
    const { busybox } = await pullTestImages(daemon);
    const before = daemon.logged.length;
    const pod = await TestPod.run(daemon, 'told');
    const id = await pod.sh('main', busybox, 'exit 3');
    await untilExited(daemon, id);
    await until('its end is told', async () => daemon.logged.some(({ msg }) => msg === 'A container ended'));
    await daemon.runtime.execSync({ containerId: id, cmd: ['/bin/true'], timeout: 1n }).catch(() => {});
    await daemon.runtime.listContainers({});
    await assert.rejects(daemon.runtime.startContainer({ containerId: 'no-such\n\u001b[31m' }));
    await assert.rejects(
      daemon.images.pullImage({
        image: { image: 'localhost:1/none:v1' },
        auth: { username: 'u', password: 'hunter2' },
      }),
    );
    await daemon.runtime.stopPodSandbox({ podSandboxId: pod.id });
    await pod.remove();
    const lines = daemon.logged.slice(before);
    assert.deepEqual(story(lines), [
      'RunPodSandbox told OK',
      'CreateContainer told main OK',
      'StartContainer told main OK',
      'A container ended told main 3',
      'WARN ExecSync failed told main FAILED_PRECONDITION',
      'WARN StartContainer failed INVALID_ARGUMENT',
      'WARN PullImage failed UNAVAILABLE',
      'StopPodSandbox told OK',
      'RemovePodSandbox told OK',
    ]);
    const made = lines.find(({ msg }) => msg === 'CreateContainer')!;
    assert.equal(made.container, id);
    assert.equal(made.pod, pod.id);
    assert.equal(made.namespace, 'test');
    assert.equal(made.uid, 'uid-told');
    assert.ok(Number(made.ms) > 0);
    const ended = lines.find(({ msg }) => msg === 'A container ended')!;
    assert.deepEqual([ended.pod, ended.container, ended.reason], [pod.id, id, 'Error']);
    const raw = JSON.stringify(lines);
    assert.ok(!raw.includes('hunter2'));
    assert.match(String(lines.find(({ msg }) => msg === 'PullImage failed')!.reason), /localhost:1/);
  } finally {
    await daemon.dispose();
    await endTestRegistry();
  }
});
