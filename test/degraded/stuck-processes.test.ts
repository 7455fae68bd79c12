// What hangs may not even be killed: a process that waits in the kernel for a file server which has taken its request, or
// for a disk that is frozen. It is left behind and told of; its pod ends all the same, or says what it waits for.
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { slowness } from '../harness/daemon.ts';
import { Freezable, Hung, processesNamed, stateOf } from '../harness/hung.ts';
import { ownHost } from '../harness/own-host.ts';
import { hostNetwork, refused, TestPod, until } from '../harness/pods.ts';
import { suite } from '../harness/suite.ts';

await ownHost();

const settings = { timeouts: { host_path: 2 * slowness, oci_runtime: 5 * slowness } };
const DEADLINE_EXCEEDED = 4;
const RESOURCE_EXHAUSTED = 8;
const sleeper = { command: ['/bin/sleep', '1000'] };
let serial = 0;
const place = (): string => join(tmpdir(), `stuck-${serial++}`);

suite('processes that are stuck in the kernel', { network: false, settings }, (bench) => {
  /** The one process of this name, once it is stuck. */
  const stuck = (name: string) =>
    until(`${name} is stuck`, async () => {
      const found = processesNamed(name, bench.daemon.pid).filter(({ state }) => state === 'D');
      return found.length === 1 && found[0]!.pid;
    });
  const runPod = (more = {}) => TestPod.run(bench.daemon, `pod-${serial++}`, { ...hostNetwork, ...more });
  const stop = (pod: TestPod) => bench.daemon.runtime.stopPodSandbox({ podSandboxId: pod.id });
  const told = (words: RegExp, path: string) =>
    bench.daemon.logged.some((line) => words.test(`${line.msg}`) && JSON.stringify(line).includes(path));

  test('one that looks at a host path', async () => {
    const at = place();
    await using hung = await Hung.at(at, { taking: true });
    const pod = await runPod();
    const mounts = [{ hostPath: `${at}/sub`, containerPath: '/x' }];
    const create = pod.create('c', bench.image.busybox, { ...sleeper, mounts });
    await refused(create, DEADLINE_EXCEEDED, new RegExp(`Looking at host path "${at}/sub" did not finish in`));
    await until('it is told', async () => told(/looked at a host path is stuck in the kernel/, `${at}/sub`));
    const pid = await stuck('berth-look');
    const again = () => pod.create('c', bench.image.busybox, { ...sleeper, mounts });
    const stuckLookers = () =>
      processesNamed('berth-look', bench.daemon.pid).filter(({ state }) => state === 'D').length;
    for (let lookers = 2; lookers <= 4; lookers++) {
      await refused(again(), DEADLINE_EXCEEDED);
      await until('one more', async () => stuckLookers() === lookers);
    }
    const givenUp = async () => (await again().catch((error) => error)).code === RESOURCE_EXHAUSTED;
    await until('that no more are sent after them', givenUp);
    const before = stuckLookers();
    await refused(again(), RESOURCE_EXHAUSTED, /processes that tried are stuck in the kernel; unmount what holds it/);
    assert.equal(stuckLookers(), before);
    await stop(pod);
    await pod.remove();
    assert.equal(stateOf(pid), 'D', 'as nobody can end it');
    await hung.answer();
    await until('its end', async () => stateOf(pid) === null);
    const other = await runPod();
    const look = () => other.create('c', bench.image.busybox, { ...sleeper, mounts }).catch((error) => error);
    await until('that it is looked at again', async () => (await look()).code !== RESOURCE_EXHAUSTED);
    await until('the end of all', async () => processesNamed('berth-look', bench.daemon.pid).length === 0);
    await other.remove();
  });

  test('one that opens a log', async () => {
    const at = place();
    const pod = await runPod({ logDirectory: at });
    const containerId = await pod.create('c', bench.image.busybox, sleeper);
    await using hung = await Hung.at(at, { taking: true });
    const start = bench.daemon.runtime.startContainer({ containerId });
    await refused(start, DEADLINE_EXCEEDED, new RegExp(`Opening log "${at}/c.log" did not finish in`));
    const pid = await stuck('berth-log');
    await stop(pod);
    await pod.remove();
    assert.equal(stateOf(pid), 'D', 'as nobody can end it');
    await hung.answer();
    await until('its end', async () => stateOf(pid) === null);
  });

  test('a shim that writes a log: its pod is stopped and removed', async () => {
    using disk = new Freezable(place());
    const pod = await runPod({ logDirectory: disk.path });
    const script = 'while :; do echo line; sleep 0.01; done';
    await pod.sh('c', bench.image.busybox, script);
    await until('a line', async () => pod.log('c').length > 0);
    disk.freeze();
    const pid = await stuck('berth-shim');
    await stop(pod);
    await pod.remove();
    assert.ok(bench.daemon.logged.some(({ msg }) => /A shim is stuck in the kernel/.test(`${msg}`)));
    assert.equal(stateOf(pid), 'D', 'as nobody can end it');
    disk.thaw();
    await until('its end', async () => stateOf(pid) === null);
  });

  test('an OCI runtime that can be killed leaves nothing', async () => {
    const at = place();
    mkdirSync(`${at}/sub`, { recursive: true });
    const pod = await runPod();
    const mounts = [{ hostPath: `${at}/sub`, containerPath: '/x' }];
    const containerId = await pod.create('c', bench.image.busybox, { ...sleeper, mounts });
    await using _ = await Hung.at(at);
    await refused(
      bench.daemon.runtime.startContainer({ containerId }),
      DEADLINE_EXCEEDED,
      /crun did not finish in time/,
    );
    await stop(pod);
    await pod.remove();
  });

  test('an OCI runtime that cannot be killed: a stop says so, and succeeds once it is gone', async () => {
    const at = place();
    mkdirSync(`${at}/sub`, { recursive: true });
    const pod = await runPod();
    const mounts = [{ hostPath: `${at}/sub`, containerPath: '/x' }];
    const containerId = await pod.create('c', bench.image.busybox, { ...sleeper, mounts });
    await using hung = await Hung.at(at, { taking: true });
    await refused(
      bench.daemon.runtime.startContainer({ containerId }),
      DEADLINE_EXCEEDED,
      /crun did not finish in time/,
    );
    await refused(stop(pod), DEADLINE_EXCEEDED, /survive SIGKILL/);
    await hung.answer();
    await stop(pod);
    await pod.remove();
  });

  test("a container's first process: a stop says so, and succeeds once it is gone", async () => {
    using disk = new Freezable(place());
    const pod = await runPod();
    const mounts = [{ hostPath: disk.path, containerPath: '/x' }];
    const containerId = await pod.start('c', bench.image.busybox, {
      command: ['/bin/sh', '-c', 'while :; do echo line > /x/file; done'],
      mounts,
    });
    disk.freeze();
    await stuck('sh');
    await refused(
      bench.daemon.runtime.stopContainer({ containerId, timeout: 0n }),
      DEADLINE_EXCEEDED,
      /stuck in the kernel/,
    );
    await refused(stop(pod), DEADLINE_EXCEEDED, /stuck in the kernel/);
    disk.thaw();
    await stop(pod);
    await pod.remove();
  });
});
