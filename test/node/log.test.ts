// The log of the daemon, read by somebody who was not there.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, constants, createReadStream, mkdtempSync, openSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import * as cri from '../../src/api/runtime/v1/cri.ts';
import { connectTo } from '../../src/commands/rpc.ts';
import { LogOutput } from '../../src/sys/log-output.ts';
import { TestDaemon } from '../harness/daemon.ts';
import { ownHost } from '../harness/own-host.ts';
import { TestPod, until, untilExited } from '../harness/pods.ts';
import { SmallDisk } from '../harness/small-disk.ts';
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
        sandboxConfig: { metadata: { namespace: 'test', name: 'told', uid: 'uid-told', attempt: 0 } },
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
      'WARN PullImage failed told UNAVAILABLE',
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

test('a pipe as standard error whose reader stands still: the daemon serves, and all lines are there when it reads', async () => {
  const daemon = new TestDaemon({ network: false });
  const pipe = join(daemon.dir, 'stderr');
  execFileSync('mkfifo', [pipe]);
  const placeholder = openSync(pipe, constants.O_RDONLY | constants.O_NONBLOCK);
  const stderr = openSync(pipe, constants.O_WRONLY);
  const reader = openSync(pipe, constants.O_RDONLY);
  closeSync(placeholder);
  const child = spawn(process.execPath, daemon.serveArguments(), { stdio: ['ignore', 'inherit', stderr] });
  const exited = once(child, 'exit');
  closeSync(stderr);
  const runtime = connectTo(cri.RuntimeServiceClient, cri, daemon.socket, 10_000);
  try {
    const serves = () =>
      runtime.version({}).then(
        ({ runtimeName }) => runtimeName === 'berth',
        () => false,
      );
    await until('it serves', serves);
    const calls = 1000; // 64 KiB are in the pipe after some 300
    for (let call = 0; call < calls; call++) await assert.rejects(runtime.startContainer({ containerId: 'no-such' }));
    assert.equal((await runtime.version({})).runtimeName, 'berth');
    const lines = createInterface({ input: createReadStream('', { fd: reader }) });
    let failed = 0;
    for await (const line of lines) {
      const { msg } = JSON.parse(line);
      assert.notEqual(msg, 'Lines of this log could not be written');
      if (msg === 'StartContainer failed' && ++failed === calls) child.kill('SIGTERM');
    }
    assert.deepEqual([failed, await exited], [calls, [0, null]]);
  } finally {
    runtime.close();
    child.kill('SIGKILL');
    await exited;
    await daemon.dispose();
  }
});

test('a full disk: what found no space is told once there is some, and a line that was cut spoils no other', () => {
  const folder = mkdtempSync(join(tmpdir(), 'berth-log-'));
  using disk = new SmallDisk(folder, 'bytes');
  const line = (n: number) => `{"n":${n},"text":"`.padEnd(997, 'x').concat('"}\n');
  const path = join(disk.folder, 'log');
  const fd = openSync(path, 'a');
  const log = new LogOutput(fd);
  const count = 40;
  disk.fill(8192);
  for (let n = 0; n < count; n++) log.write(line(n), 30);
  assert.equal(log.flush(5000), true);
  const { lost } = log;
  assert.ok(lost > 0 && lost < count, `${lost}`);
  disk.free();
  for (let n = count; n < count + 3; n++) log.write(line(n), 30);
  assert.equal(log.flush(5000), true);
  closeSync(fd);
  const read = readFileSync(path, 'utf8').split('\n');
  const whole = read.filter((each) => each.endsWith('}')).map((each) => JSON.parse(each));
  assert.deepEqual([whole.reduce((sum, { lines = 0 }) => sum + lines, 0), log.lost], [lost, lost]);
  const found = Array.from({ length: count - lost }, (_, n) => n);
  assert.deepEqual(
    whole.flatMap(({ n }) => n ?? []),
    [...found, count, count + 1, count + 2],
  );
});
