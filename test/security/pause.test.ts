// Root in a container that sees processes of Berth (a shared PID namespace, the host's) gets nothing of the host by them.
import assert from 'node:assert/strict';
import { readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { status as grpc } from '@grpc/grpc-js';
import { NamespaceMode } from '../../src/api/runtime/v1/cri.ts';
import { compiled } from '../harness/compile.ts';
import { ownHost } from '../harness/own-host.ts';
import { type ContainerConfig, hostNetwork, type PodConfig, refused, TestPod, untilExited } from '../harness/pods.ts';
import { type Bench, ociRuntimes, suite } from '../harness/suite.ts';
import { loadImage } from '../node/containers-support.ts';

await ownHost(compiledLook);

type Security = NonNullable<NonNullable<ContainerConfig['linux']>['securityContext']>;
type Seen = Record<string, string>;

const userMap = [{ containerId: 0, hostId: 300_000, length: 65_536 }];
const drop: Security = { capabilities: { dropCapabilities: ['ALL'] }, noNewPrivs: true };
const trace: Security = { capabilities: { addCapabilities: ['SYS_PTRACE', 'SYS_ADMIN', 'SYS_CHROOT'] } };
const everything: Security = { capabilities: { addCapabilities: ['ALL'] } };

const kinds: Record<string, { pid: NamespaceMode; security?: Security; users?: boolean }> = {
  'default rights': { pid: NamespaceMode.POD },
  'all capabilities dropped': { pid: NamespaceMode.POD, security: drop },
  'the right to trace and to join namespaces': { pid: NamespaceMode.POD, security: trace },
  'every capability': { pid: NamespaceMode.POD, security: everything },
  'a user namespace': { pid: NamespaceMode.POD, users: true },
  'a user namespace and every capability in it': { pid: NamespaceMode.POD, users: true, security: everything },
  "the host's PID namespace": { pid: NamespaceMode.NODE },
  "the host's PID namespace and all capabilities dropped": { pid: NamespaceMode.NODE, security: drop },
  // It is the host's root by what it was given, as with every runtime; yet not by way of the pause process.
  "the host's PID namespace and the right to trace": { pid: NamespaceMode.NODE, security: trace },
};

function compiledLook(): Promise<string> {
  return compiled(join(import.meta.dirname, 'look.c'));
}

/** What a process shows that has nothing of the host. */
const harmless: Record<string, readonly string[]> = {
  root: ['refused', 'empty'],
  cwd: ['refused', 'empty'],
  exe: ['refused', '/program (deleted)'],
  fd: ['refused', 'empty'],
  'ns/mnt': ['refused', 'not-joined', 'empty'],
  environ: ['refused', 'empty', 'unreadable'],
};

/** Runs test/security/look.c in a new container of a new pod; by pid, what it had of each process. */
async function look(
  bench: Bench,
  image: string,
  kind: (typeof kinds)[string],
): Promise<{ pause: Seen; others: Seen[] }> {
  const namespaceOptions = {
    pid: kind.pid,
    ...(kind.users && { usernsOptions: { mode: NamespaceMode.POD, uids: userMap, gids: userMap } }),
    network: NamespaceMode.NODE,
  };
  const config: PodConfig = { linux: { securityContext: { namespaceOptions } } };
  const pod = await TestPod.run(bench.daemon, 'seen', config);
  const { info } = await bench.daemon.runtime.podSandboxStatus({ podSandboxId: pod.id, verbose: true });
  const pausePid = Number(JSON.parse(info.info ?? '{}').pid);
  const shimPid = Number(/^PPid:\s*(\d+)$/m.exec(readFileSync(`/proc/${pausePid}/status`, 'utf8'))?.[1]);
  const ofHost = kind.pid === NamespaceMode.NODE;
  const pids = ofHost ? [pausePid, shimPid, bench.daemon.pid] : [1];
  const id = await pod.start('looker', image, {
    command: ['/bin/look', ...pids.map(String)],
    linux: { securityContext: { namespaceOptions, ...kind.security } },
  });
  assert.equal((await untilExited(bench.daemon, id)).exitCode, 0);
  const seen = pids.map((pid): Seen => {
    const lines = pod.log('looker').map(({ text }) => text.split(' '));
    return Object.fromEntries(lines.filter(([of]) => of === `${pid}`).map(([, what, ...had]) => [what, had.join(' ')]));
  });
  assert.equal(readFileSync(`/proc/${pausePid}/comm`, 'utf8'), 'berth-pause\n', 'it still holds the pod');
  await pod.remove();
  return { pause: seen[0]!, others: seen.slice(1) };
}

async function pidOf({ daemon }: Bench, containerId: string): Promise<number> {
  const { info } = await daemon.runtime.containerStatus({ containerId, verbose: true });
  return JSON.parse(info.info!).pid;
}

for (const handler of ociRuntimes) {
  suite(`processes of Berth as seen by containers of ${handler}`, { handler, network: false }, (bench) => {
    test('the PID namespace of a container that ended is joined by nobody, whatever process has its pid now', async () => {
      const pod = await TestPod.run(bench.daemon, 'target', hostNetwork);
      const own = { network: NamespaceMode.NODE, pid: NamespaceMode.CONTAINER };
      const ofItsOwn = { linux: { securityContext: { namespaceOptions: own } } };
      const target = await pod.sh('target', bench.image.busybox, 'sleep 1000', ofItsOwn);
      const namespaceOptions = { network: NamespaceMode.NODE, pid: NamespaceMode.TARGET, targetId: target };
      const sharing = { linux: { securityContext: { namespaceOptions } } };
      const wanted = readlinkSync(`/proc/${await pidOf(bench, target)}/ns/pid`);
      const [early, late] = await Promise.all(
        ['early', 'late'].map((name) =>
          pod.create(name, bench.image.busybox, { command: ['/bin/sleep', '1000'], ...sharing }),
        ),
      );
      const joined = (id: string) => {
        const spec = join(bench.daemon.runDir, 'pods', pod.id, 'containers', id, 'config.json');
        const { namespaces } = JSON.parse(readFileSync(spec, 'utf8')).linux;
        return namespaces.find(({ type }: { type: string }) => type === 'pid').path;
      };
      assert.equal(readlinkSync(joined(early!)), wanted);
      await bench.daemon.runtime.startContainer({ containerId: early! });
      assert.equal(readlinkSync(`/proc/${await pidOf(bench, early!)}/ns/pid`), wanted);
      await bench.daemon.runtime.stopContainer({ containerId: target, timeout: 0n });
      assert.equal(readlinkSync(joined(late!)), wanted, 'not by a pid');
      await refused(bench.daemon.runtime.startContainer({ containerId: late! }), grpc.INTERNAL, /Cannot start/);
      await pod.remove();
    });

    for (const [name, kind] of Object.entries(kinds)) {
      test(`with ${name}`, async () => {
        const data = readFileSync(await compiledLook());
        const image = await loadImage(bench, 'look', [{ name: 'bin/look', mode: 0o755, data }]);
        const { pause, others } = await look(bench, image, kind);
        for (const [what, allowed] of Object.entries(harmless))
          assert.ok(allowed.includes(pause[what] ?? 'nothing'), `${what} of the pause process: ${pause[what]}`);
        const traces = [trace, everything].some((security) => security === kind.security);
        if (traces) return; // it may trace whatever it sees; the pause process has nothing to give
        assert.equal(pause.ptrace, 'refused');
        assert.equal(pause.mem, 'refused');
        for (const other of others)
          assert.deepEqual(new Set(Object.values(other)), new Set(['refused']), JSON.stringify(other));
      });
    }
  });
}
