// Handlers whose containers are made by `create` and begin by `start`: programs that stand around an OCI runtime, as GPU vendors
// have them, change the bundle when they see the first word, and do nothing at a `run`.
import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { status as grpc } from '@grpc/grpc-js';
import { ContainerState } from '../../src/api/runtime/v1/cri.ts';
import { ownHost } from '../harness/own-host.ts';
import { refused, TestPod, until, untilExited } from '../harness/pods.ts';
import { ociRuntimes, suite } from '../harness/suite.ts';
import { program } from '../images/run.ts';
import { linesOf } from './containers-support.ts';

await ownHost();

const folder = mkdtempSync(join(tmpdir(), 'berth-vendor-'));
after(() => rmSync(folder, { recursive: true }));
const broken = join(folder, 'broken');

/** Adds a variable to each container that it sees made; fails at `start` while a file is there. */
function vendors(name: string): string {
  const path = join(folder, `vendor-${name}`);
  writeFileSync(
    path,
    `#!/bin/sh
for word in "$@"; do
  [ "$last" = --bundle ] && bundle=$word
  case "$word" in create|start|run) verb=$word ;; esac
  last=$word
done
if [ "$verb" = create ]; then
  jq '.process.env += ["VENDOR=1"]' "$bundle/config.json" >"$bundle/new" && mv "$bundle/new" "$bundle/config.json"
fi
if [ "$verb" = start ] && [ -e ${broken} ]; then echo 'it cannot be started' >&2; exit 1; fi
exec ${program(name, name)} "$@"
`,
  );
  chmodSync(path, 0o755);
  return path;
}

const called = join(folder, 'called');

/** The OCI runtime itself, by its own name; its words are kept. */
function recording(name: string): string {
  const path = join(folder, name);
  writeFileSync(path, `#!/bin/sh\nprintf '%s\\n' "$@" >>${called}\nexec ${program(name, name)} "$@"\n`);
  chmodSync(path, 0o755);
  return path;
}

for (const handler of ociRuntimes) {
  const handlers = {
    vendor: { path: vendors(handler) },
    [handler]: { path: recording(handler), create: 'always' },
  };
  suite(`create and start, with ${handler}`, { handler: 'vendor', settings: { handlers } }, (bench) => {
    const states = (of: string) => readdirSync(join(bench.daemon.runDir, 'oci', of));

    test('a program that looks for create sees it; output, input, terminals and ends are as with run', async () => {
      const pod = await TestPod.run(bench.daemon, 'vendor');
      const id = await pod.sh('c', bench.image.busybox, 'echo "$VENDOR"; echo err >&2; exit 7');
      const { exitCode, reason } = await untilExited(bench.daemon, id);
      assert.deepEqual([exitCode, reason], [7, 'Error']);
      assert.deepEqual(linesOf(pod, 'c').sort(), ['1', 'err']);
      const terminal = await pod.sh('t', bench.image.busybox, 'tty', { tty: true });
      assert.equal((await untilExited(bench.daemon, terminal)).exitCode, 0);
      assert.match(linesOf(pod, 't')[0]!, /^\/dev\/pts\//);
      const running = await pod.talking(
        'r',
        bench.image.busybox,
        'trap "exit 3" TERM; echo; while :; do sleep 0.1; done',
      );
      const { stdout } = await bench.daemon.runtime.execSync({
        containerId: running,
        cmd: ['echo', 'x'],
        timeout: 10n,
      });
      assert.equal(stdout.toString(), 'x\n');
      await bench.daemon.runtime.stopContainer({ containerId: running, timeout: 10n });
      assert.equal((await untilExited(bench.daemon, running)).exitCode, 3);
      await pod.remove();
    });

    test('what cannot be started has exited with StartError, and nothing of it is left', async () => {
      const pod = await TestPod.run(bench.daemon, 'failing');
      const failed = async (name: string, command: string, message: RegExp) => {
        const containerId = await pod.create(name, bench.image.busybox, { command: [command] });
        await refused(bench.daemon.runtime.startContainer({ containerId }), grpc.INTERNAL, message);
        const { status } = await bench.daemon.runtime.containerStatus({ containerId });
        assert.deepEqual([status?.exitCode, status?.reason], [128, 'StartError']);
        assert.deepEqual(states('vendor'), []);
      };
      await failed('no-command', '/no/such', /no such/i);
      writeFileSync(broken, '');
      try {
        await failed('no-start', '/bin/sh', /it cannot be started/);
      } finally {
        rmSync(broken);
      }
      await pod.remove();
    });

    test('a crash between the two is made up for', async () => {
      const { daemon } = bench;
      await daemon.stop();
      await daemon.start({ BERTH_CRASH_AT: 'start-container:process' });
      const pod = await TestPod.run(daemon, 'crash');
      const script = { command: ['/bin/sh', '-c', 'echo begun; sleep 1000'] };
      const containerId = await pod.create('c', bench.image.busybox, script);
      await assert.rejects(daemon.runtime.startContainer({ containerId }));
      await daemon.ended();
      assert.deepEqual(linesOf(pod, 'c'), []);
      await daemon.start();
      await until('its first line', async () => linesOf(pod, 'c')[0] === 'begun');
      const { status } = await daemon.runtime.containerStatus({ containerId });
      assert.equal(status?.state, ContainerState.CONTAINER_RUNNING);
      await pod.remove();
    });

    test('a known OCI runtime is called so where the operator wants it', async () => {
      const pod = await TestPod.run(bench.daemon, 'always', {}, handler);
      writeFileSync(called, '');
      const id = await pod.sh('c', bench.image.busybox, 'exit 0');
      assert.equal((await untilExited(bench.daemon, id)).exitCode, 0);
      const verbs = readFileSync(called, 'utf8').split('\n');
      assert.deepEqual(
        verbs.filter((verb) => /^(create|start|run)$/.test(verb)),
        ['create', 'start'],
      );
      await pod.remove();
    });
  });
}
