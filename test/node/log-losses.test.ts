// Lines that a full disk takes are told: in the daemon's log, by the metrics, in a status; and what is there is exact.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestDaemon } from '../harness/daemon.ts';
import { ownHost } from '../harness/own-host.ts';
import { hostNetwork, parseLog, TestPod, until, untilExited } from '../harness/pods.ts';
import { suite } from '../harness/suite.ts';

await ownHost();

const warning = 'Lines of a container were lost: its log could not be written';

type Loss = { bytes: number; lines: number; error: string } | null;

async function lossOf(daemon: TestDaemon, containerId: string): Promise<Loss> {
  const { info } = await daemon.runtime.containerStatus({ containerId, verbose: true });
  return JSON.parse(info.info!).logLoss;
}

async function metricsOf(daemon: TestDaemon, containerId: string): Promise<(bigint | undefined)[]> {
  const { podMetrics } = await daemon.runtime.listPodSandboxMetrics({});
  const own = podMetrics.flatMap((pod) => pod.containerMetrics).find((each) => each.containerId === containerId);
  return ['lines', 'bytes'].map(
    (what) => own?.metrics.find(({ name }) => name === `berth_container_log_${what}_lost_total`)?.value?.value,
  );
}

suite('lost lines', {}, (bench) => {
  test('are counted, told while the container runs, known after a crash, and in nobody’s message', async () => {
    const { daemon } = bench;
    const logDirectory = join(daemon.logDir, 'small');
    mkdirSync(logDirectory);
    execFileSync('/bin/mount', ['-t', 'tmpfs', '-o', 'size=256K', 'small-disk', logDirectory]);
    try {
      const pod = await TestPod.run(daemon, 'small', { ...hostNetwork, logDirectory });
      const script = 'seq 1 20000; while read what; do echo $what; done; exit 3';
      const id = await pod.sh('c', bench.image.busybox, script, { ...hostNetwork, stdin: true });
      const fine = await pod.start('fine', bench.image.busybox, {
        command: ['/bin/sleep', '1000'],
        ...hostNetwork,
        logPath: '',
      });
      const kept = () => parseLog(readFileSync(join(logDirectory, 'c.log'), 'utf8')).map(({ text }) => text);
      // The container waits for nobody: all that it writes is there or lost.
      const loss = await until('the loss', async () => {
        const found = await lossOf(daemon, id);
        return found !== null && found.lines + kept().length === 20_000 && found;
      });
      assert.ok(loss.lines > 1000);
      assert.equal(loss.error, 'ENOSPC');
      const [said] = daemon.logged.filter(({ msg }) => msg === warning);
      assert.equal(said?.container, id);
      assert.equal(said.name, 'c');
      assert.equal(said.logPath, join(logDirectory, 'c.log'));
      assert.ok(Number(said.lines) > 0);
      assert.equal(await lossOf(daemon, fine), null);
      assert.deepEqual(await metricsOf(daemon, id), [BigInt(loss.lines), BigInt(loss.bytes)]);
      assert.deepEqual(await metricsOf(daemon, fine), [0n, 0n], 'nothing was lost');

      await daemon.kill();
      await daemon.start();
      assert.deepEqual(await lossOf(daemon, id), loss);
      assert.deepEqual(await metricsOf(daemon, id), [BigInt(loss.lines), BigInt(loss.bytes)]);

      await daemon.runtime.stopContainer({ containerId: id, timeout: 0n });
      const { exitCode, message } = await untilExited(daemon, id);
      assert.deepEqual([exitCode, message], [137, '']);
      assert.deepEqual(await lossOf(daemon, id), loss);
      await pod.remove();
    } finally {
      execFileSync('/bin/umount', ['-l', logDirectory]);
    }
  });

  test('are none: what no newline ended is there to the byte, also of one that ended while the daemon was away', async () => {
    const { daemon } = bench;
    const folder = join(daemon.dir, 'gate');
    mkdirSync(folder);
    const mounts = [{ containerPath: '/gate', hostPath: folder }];
    const pod = await TestPod.run(daemon, 'exact', hostNetwork);
    // In the midst of a piece of 16 KiB, at the end of one, and on both streams.
    for (const [index, size] of [1, 16_383, 16_384, 16_385, 40_000, 49_152].entries()) {
      const name = `c${index}`;
      const script = `until [ -e /gate/${name} ]; do usleep 1000; done; printf 'a\\n'; head -c ${size} /dev/zero | tr '\\0' x; printf y >&2; exit 4`;
      await pod.sh(name, bench.image.busybox, script, { ...hostNetwork, mounts });
      await daemon.kill();
      writeFileSync(join(folder, name), '');
      const path = join(pod.config.logDirectory!, `${name}.log`);
      await until('its end', async () => / stderr P y$/m.test(readFileSync(path, 'utf8')));
      await daemon.start();
      const { containers } = await daemon.runtime.listContainers({});
      const { id } = containers.find(({ metadata }) => metadata?.name === name)!;
      assert.equal((await untilExited(daemon, id)).exitCode, 4);
      const records = readFileSync(path, 'utf8').split('\n').slice(0, -1);
      const of = (stream: string) =>
        records.flatMap((record) => {
          const [, from, tag, text] = /^\S+ (stdout|stderr) ([PF]) (.*)$/.exec(record) ?? [];
          return from === stream ? [{ tag, text }] : [];
        });
      const bytes = of('stdout').map(({ tag, text }) => (tag === 'F' ? `${text}\n` : text)); // as kubelet gives them
      assert.ok(bytes.join('') === `a\n${'x'.repeat(size)}`, `${size}: ${bytes.join('').length} bytes`);
      assert.equal(of('stdout').at(-1)?.tag, 'P');
      assert.deepEqual(of('stderr'), [{ tag: 'P', text: 'y' }]);
    }
    await pod.remove();
    rmSync(folder, { recursive: true });
  });
});
