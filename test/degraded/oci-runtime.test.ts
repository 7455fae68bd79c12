// An OCI runtime that hangs, fails, lies or floods, at each of its commands: the call says so in time and in few words,
// nothing stays, the container is what it was, and nobody else notices.
import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { status as grpc } from '@grpc/grpc-js';
import { ContainerState } from '../../src/api/runtime/v1/cri.ts';
import { Bystander } from '../harness/bystander.ts';
import { slowness } from '../harness/daemon.ts';
import { ownHost } from '../harness/own-host.ts';
import { hostNetwork, TestPod, untilExited } from '../harness/pods.ts';
import { ociRuntimes, suite } from '../harness/suite.ts';
import { program } from '../images/run.ts';
import { outcomeOf } from './outcome.ts';

await ownHost();

const folder = mkdtempSync(join(tmpdir(), 'berth-oci-'));
after(() => rmSync(folder, { recursive: true }));

/** What it does instead of its work; `$log` is the file that its reasons go to. */
const faults: Record<string, string> = {
  hangs: 'exec sleep 1000',
  'hangs, with children that hold its output': 'sleep 1000 & sleep 1000',
  'ignores SIGTERM and hangs': "trap '' TERM INT HUP; while :; do sleep 1; done",
  fails: 'echo "it cannot be" >&2; exit 1',
  'fails without a word': 'exit 3',
  'is killed': 'kill -9 $$',
  'does nothing and says that all is well': 'exit 0',
  'prints garbage': 'head -c 4096 /dev/urandom; head -c 4096 /dev/urandom >&2; exit 1',
  'prints far too much': 'head -c 67108864 /dev/zero >&2; exit 1',
  'writes half a line of JSON to its log': `[ -z "$log" ] || printf '{"level":"error","ms' >"$log"; exit 1`,
  'writes a huge log': '[ -z "$log" ] || head -c 67108864 /dev/zero >"$log"; exit 1',
};

/** The real one, unless a file has the name of the command and a fault to run. */
function breakable(name: string): string {
  const [path, orders] = [join(folder, name), join(folder, `${name}.orders`)];
  mkdirSync(orders);
  writeFileSync(
    path,
    `#!/bin/sh
log=
for word in "$@"; do
  [ "$last" = --log ] && log=$word
  last=$word
  case "$word" in run|exec|update|delete) [ -e "${orders}/$word" ] && . "${orders}/$word" ;; esac
done
exec ${program(name, name)} "$@"
`,
  );
  chmodSync(path, 0o755);
  return path;
}

/** A call that must not outlive its OCI runtime's time by much; its client waits this long, milliseconds. */
const patience = () => ({ deadline: Date.now() + 20_000 * slowness });
const ociRuntimeSeconds = 2;

// What is broken is no OCI runtime at all: one of them stands for both.
for (const handler of ociRuntimes.slice(0, 1)) {
  const settings = {
    handlers: { [handler]: { path: program(handler, handler) }, broken: { path: breakable(handler) } },
    timeouts: { oci_runtime: ociRuntimeSeconds },
  };
  suite(`an OCI runtime that is broken, ${handler} otherwise`, { handler, settings }, (bench) => {
    const orders = join(folder, `${handler}.orders`);
    let bystander: Bystander;
    before(async () => {
      bystander = await Bystander.start(bench.daemon, bench.image.busybox);
    });

    /** How `call` ends while the command does this. */
    const under = async (command: string, script: string, call: () => Promise<unknown>): Promise<number | 'done'> => {
      writeFileSync(join(orders, command), `${script}\n`);
      try {
        return await outcomeOf(call);
      } finally {
        rmSync(join(orders, command));
      }
    };
    const aPod = () => TestPod.run(bench.daemon, 'broken', { ...hostNetwork }, 'broken');
    const sleeping = { command: ['/bin/sleep', '1000'], ...hostNetwork };
    const state = async (containerId: string) => {
      const { status } = await bench.daemon.runtime.containerStatus({ containerId });
      return [status!.state, status!.reason];
    };
    const ociState = () => readdirSync(join(bench.daemon.runDir, 'oci/broken'));

    for (const [name, script] of Object.entries(faults)) {
      test(`one that ${name}`, () =>
        bystander.watched(name, async () => {
          const { runtime } = bench.daemon;
          const pod = await aPod();
          const late = /^hangs|and hangs$/.test(name);
          const refused = late ? grpc.DEADLINE_EXCEEDED : grpc.INTERNAL;

          const victim = await pod.create('victim', bench.image.busybox, sleeping);
          const started = await under('run', script, () => runtime.startContainer({ containerId: victim }, patience()));
          assert.equal(started, refused, 'run');
          assert.deepEqual(await state(victim), [ContainerState.CONTAINER_EXITED, 'StartError']);
          assert.deepEqual(ociState(), []);

          const containerId = await pod.start('c', bench.image.busybox, sleeping);
          const exec = () => runtime.execSync({ containerId, cmd: ['/bin/true'], timeout: 1n }, patience());
          assert.equal(await under('exec', script, exec), refused, 'exec');
          assert.equal((await exec()).exitCode, 0, 'exec, once it is well again');

          const update = () =>
            runtime.updateContainerResources({ containerId, linux: { cpuShares: 300n } }, patience());
          const updated = await under('update', script, update);
          assert.equal(updated, name === 'does nothing and says that all is well' ? 'done' : refused, 'update');
          await update();
          assert.deepEqual(await state(containerId), [ContainerState.CONTAINER_RUNNING, '']);

          // What it should delete is undone without it; only one that hangs is worth a second try.
          const stop = () => runtime.stopContainer({ containerId, timeout: 0n }, patience());
          assert.equal(await under('delete', script, stop), 'done', 'the container has ended, whatever is left of it');
          const { exitCode } = await untilExited(bench.daemon, containerId);
          assert.equal(exitCode, 137);
          const remove = () => runtime.removePodSandbox({ podSandboxId: pod.id }, patience());
          const removed = await under('delete', script, remove);
          assert.ok(removed === 'done' || (late && removed === grpc.DEADLINE_EXCEEDED), `removal: ${removed}`);
          await remove();
          assert.deepEqual(ociState(), []);
          assert.equal((await runtime.listContainers({ filter: { podSandboxId: pod.id } })).containers.length, 0);
        }));
    }
  });
}
