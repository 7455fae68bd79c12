// Who can write below a pod's log directory makes no log be written anywhere else.
import assert from 'node:assert/strict';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import * as grpc from '@grpc/grpc-js';
import { ownHost } from '../harness/own-host.ts';
import { hostNetwork, refused, TestPod, until } from '../harness/pods.ts';
import { type Bench, suite } from '../harness/suite.ts';

await ownHost();

const outside = '/run/outside';
const { INVALID_ARGUMENT, FAILED_PRECONDITION } = grpc.status;

function prepareHost(): void {
  rmSync(outside, { recursive: true, force: true });
  mkdirSync(outside);
  writeFileSync(join(outside, '0.log'), 'of the host\n');
}

prepareHost(); // it is there before and after each test

const untouched = () => {
  assert.deepEqual(readdirSync(outside), ['0.log']);
  assert.equal(readFileSync(join(outside, '0.log'), 'utf8'), 'of the host\n');
};

/** In a container's folder a/b with its log 0.log: what an attacker puts in place of one of them. */
const attacks: Record<string, (logs: string) => void> = {
  'the first folder': (logs) => replace(join(logs, 'a'), outside),
  'the second folder': (logs) => replace(join(logs, 'a/b'), outside),
  'the second folder, by ..': (logs) => replace(join(logs, 'a/b'), '../../../../../../../..'.concat(outside)),
  'a folder by a descriptor': (logs) => replace(join(logs, 'a/b'), '/proc/self/root'.concat(outside)),
  'the file': (logs) => replace(join(logs, 'a/b/0.log'), join(outside, '0.log')),
  'the file, to one that does not exist': (logs) => replace(join(logs, 'a/b/0.log'), join(outside, 'new')),
};

function replace(path: string, target: string): void {
  rmSync(path, { recursive: true, force: true });
  symlinkSync(target, path);
}

const logPath = 'a/b/0.log';
let serial = 0;
const run = (bench: Bench) => TestPod.run(bench.daemon, `logs-${serial++}`, hostNetwork);
const chatty = { command: ['/bin/sh', '-c', 'while :; do echo line; sleep 0.01; done'], logPath };

suite('logs that lead astray', { network: false }, (bench) => {
  for (const [name, attack] of Object.entries(attacks)) {
    test(`before the container: ${name}`, async () => {
      prepareHost();
      const pod = await run(bench);
      const logs = pod.config.logDirectory!;
      mkdirSync(join(logs, 'a/b'), { recursive: true });
      attack(logs);
      const started = pod.start('c', bench.image.busybox, chatty);
      await refused(started, FAILED_PRECONDITION, /Log path "a\/b\/0.log" passes .* a link, below/);
      untouched();
      await pod.remove();
    });

    test(`between create and start: ${name}`, async () => {
      prepareHost();
      const pod = await run(bench);
      const containerId = await pod.create('c', bench.image.busybox, chatty);
      attack(pod.config.logDirectory!);
      await refused(
        bench.daemon.runtime.startContainer({ containerId }),
        FAILED_PRECONDITION,
        /Log path "a\/b\/0.log" passes .* a link, below/,
      );
      untouched();
      await pod.remove();
    });

    test(`between start and reopen: ${name}`, async () => {
      prepareHost();
      const pod = await run(bench);
      const logs = pod.config.logDirectory!;
      const containerId = await pod.start('c', bench.image.busybox, chatty);
      const file = join(logs, logPath);
      const moved = join(logs, 'moved');
      renameSync(file, moved);
      attack(logs);
      await refused(
        bench.daemon.runtime.reopenContainerLog({ containerId }),
        FAILED_PRECONDITION,
        /Log path "a\/b\/0.log" passes .* a link, below/,
      );
      untouched();
      const { length } = readFileSync(moved);
      await until('the old file goes on', async () => readFileSync(moved).length > length);
      rmSync(join(logs, 'a'), { recursive: true });
      mkdirSync(join(logs, 'a/b'), { recursive: true });
      await bench.daemon.runtime.reopenContainerLog({ containerId });
      await until('the new file has lines', async () => existsSync(file) && readFileSync(file).length > 0);
      await pod.remove();
    });
  }

  test('the log directory itself may be reached through links', async () => {
    mkdirSync('/run/real/logs', { recursive: true });
    symlinkSync('real', '/run/linked');
    const pod = await TestPod.run(bench.daemon, 'linked', { ...hostNetwork, logDirectory: '/run/linked/logs/new' });
    const containerId = await pod.start('c', bench.image.busybox, chatty);
    const file = join('/run/real/logs/new', logPath);
    await until('lines', async () => existsSync(file) && readFileSync(file).length > 0);
    renameSync(file, `${file}.1`);
    await bench.daemon.runtime.reopenContainerLog({ containerId });
    await until('lines in the new file', async () => existsSync(file) && readFileSync(file).length > 0);
    const { status } = await bench.daemon.runtime.containerStatus({ containerId });
    assert.equal(status?.logPath, join('/run/linked/logs/new', logPath), 'as kubelet knows it');
    await pod.remove();
    for (const path of ['/run/real', '/run/linked']) rmSync(path, { recursive: true });
  });

  test('log paths that are no names below the directory are refused', async () => {
    const pod = await run(bench);
    for (const wrong of ['/a', '../a', 'a/../b', 'a//b', 'a/', './a', 'a/.', '/', '.', '..']) {
      const create = pod.create('c', bench.image.busybox, { logPath: wrong });
      await refused(create, INVALID_ARGUMENT, /config\.log_path = /);
    }
    await pod.remove();
  });
});
