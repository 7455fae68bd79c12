// What Berth made is removed or spoiled by others, while it runs or while it is down: reads stay true, the pod can be
// stopped and removed, nothing stays, and nobody else notices.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { ContainerState } from '../../src/api/runtime/v1/cri.ts';
import { mountTableAtOnce, pointsBelow } from '../../src/sys/mountinfo.ts';
import { unmount } from '../../src/sys/mounts.ts';
import { Bystander } from '../harness/bystander.ts';
import type { TestDaemon } from '../harness/daemon.ts';
import { ownHost } from '../harness/own-host.ts';
import { TestPod } from '../harness/pods.ts';
import { ociRuntimes, suite } from '../harness/suite.ts';
import { removeRules } from './rules.ts';

await ownHost();

type Victim = {
  readonly daemon: TestDaemon;
  readonly handler: string;
  readonly pod: TestPod;
  readonly running: string;
  readonly created: string;
  readonly exited: string;
};
const podFolder = ({ daemon, pod }: Victim) => join(daemon.runDir, 'pods', pod.id);
const bundle = (victim: Victim) => join(podFolder(victim), 'containers', victim.running);
const ociState = ({ daemon, handler, running }: Victim) => join(daemon.runDir, 'oci', handler, running);
const podRecord = ({ daemon, pod }: Victim) => join(daemon.dataDir, 'v1/pods', `${pod.id}.json`);
const containerRecord = ({ daemon, running }: Victim) => join(daemon.dataDir, 'v1/containers', `${running}.json`);
const layer = ({ daemon }: Victim, key: string) => join(daemon.dataDir, 'v1/snapshots', key);

const remove = (path: string) => {
  assert.ok(existsSync(path), path);
  for (const target of [...pointsBelow(mountTableAtOnce(), path), path]) unmount(target, { detach: true });
  rmSync(path, { recursive: true });
};
const shimOf = (victim: Victim) => {
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  const own = (pid: string) => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')[1] === podFolder(victim);
    } catch {
      return false; // it ended
    }
  };
  const [pid] = pids.filter(own);
  assert.ok(pid, 'its shim');
  return Number(pid);
};

const netns = ({ pod: { id } }: Victim) =>
  `/run/netns/cni-${[0, 8, 12, 16, 20].map((at, i, all) => id.slice(at, all[i + 1] ?? 32)).join('-')}`;

/** What others do. `lost`: its record is what is gone, so that it is not listed after a start. */
type Deed = { readonly what: string; readonly does: (victim: Victim) => void; readonly lost?: 'pod' | 'container' };
const deeds: Deed[] = [
  { what: 'the network namespace is unmounted and gone', does: (v) => remove(netns(v)) },
  { what: 'the shared files are unmounted and gone', does: (v) => remove(join(podFolder(v), 'shared')) },
  { what: 'the bundle of the running container is gone', does: (v) => remove(bundle(v)) },
  { what: 'its root is unmounted', does: (v) => unmount(join(bundle(v), 'rootfs'), { detach: true }) },
  { what: 'its configuration is empty', does: (v) => truncateSync(join(bundle(v), 'config.json')) },
  { what: 'a directory stands for its exit file', does: (v) => mkdirSync(join(bundle(v), 'exit.json')) },
  { what: 'its exit file is of another', does: (v) => writeFileSync(join(bundle(v), 'exit.json'), '{"key":"x"}') },
  { what: "the OCI runtime's state of it is gone", does: (v) => remove(ociState(v)) },
  {
    what: "the OCI runtime's state of it is garbage",
    does: (v) => {
      for (const name of readdirSync(ociState(v))) {
        if (/\.json$|^status$/.test(name)) writeFileSync(join(ociState(v), name), 'garbage');
      }
    },
  },
  { what: 'its writable layer is gone', does: (v) => remove(layer(v, v.running)) },
  { what: 'the directory of the pod is gone', does: (v) => remove(podFolder(v)) },
  { what: 'the socket of the shim is gone', does: (v) => remove(join(podFolder(v), 'shim.sock')) },
  { what: 'the shim is killed', does: (v) => process.kill(shimOf(v), 'SIGKILL') },
  { what: 'the shim is stopped', does: (v) => process.kill(shimOf(v), 'SIGSTOP') },
  { what: 'the logs are gone', does: (v) => remove(v.pod.config.logDirectory!) },
  {
    what: 'what CNI knows of it is gone',
    does: ({ daemon, pod }) => {
      const folder = join(daemon.dir, 'cni/cache/results');
      for (const name of readdirSync(folder).filter((each) => each.includes(pod.id))) rmSync(join(folder, name));
      // The addresses and rules are the plugin's then: nobody knows of them.
      execFileSync('/bin/sh', ['-c', `cd ${join(daemon.ipamDir, daemon.name)} && rm -f $(grep -l ${pod.id} [0-9]*)`]);
      removeRules(pod.id);
    },
  },
  { what: 'the record of the pod is gone', does: (v) => remove(podRecord(v)), lost: 'pod' },
  { what: 'the record of the pod is empty', does: (v) => truncateSync(podRecord(v)), lost: 'pod' },
  { what: 'the record of the pod is garbage', does: (v) => writeFileSync(podRecord(v), '{"id":7}'), lost: 'pod' },
  { what: 'the record of the container is gone', does: (v) => remove(containerRecord(v)), lost: 'container' },
  { what: 'the record of the container is cut', does: (v) => truncateSync(containerRecord(v), 100), lost: 'container' },
];

// What others spoil is mostly ours: one OCI runtime stands for both, but in the long run.
for (const handler of process.env.BERTH_SLOW ? ociRuntimes : ociRuntimes.slice(0, 1)) {
  suite(`behind our back, with ${handler}`, { handler }, (bench) => {
    let bystander: Bystander;
    before(async () => {
      bystander = await Bystander.start(bench.daemon, bench.image.busybox);
    });

    let serial = 0;
    const victim = async (): Promise<Victim> => {
      const { daemon, image } = bench;
      const pod = await TestPod.run(daemon, `victim-${serial++}`);
      const running = await pod.sh('running', image.busybox, 'while :; do echo line; sleep 0.1; done');
      const created = await pod.create('created', image.busybox, { command: ['/bin/true'] });
      const exited = await pod.sh('exited', image.busybox, 'exit 3');
      return { daemon, handler, pod, running, created, exited };
    };

    /** All reads, then the end of it, as kubelet goes about it. */
    const isReadAndRemoved = async ({ daemon, pod, running }: Victim) => {
      const { runtime } = daemon;
      await runtime.listPodSandbox({});
      await runtime.listContainers({});
      await runtime.listContainerStats({});
      await runtime.listPodSandboxStats({});
      await runtime.podSandboxStatus({ podSandboxId: pod.id, verbose: true }).catch(absent);
      const { status } = await runtime.containerStatus({ containerId: running, verbose: true }).catch(absent);
      assert.notEqual(status?.state, ContainerState.CONTAINER_UNKNOWN);
      await runtime.execSync({ containerId: running, cmd: ['/bin/true'], timeout: 2n }).catch(() => {}); // it may fail, not hang
      await runtime.stopContainer({ containerId: running, timeout: 0n });
      await runtime.removeContainer({ containerId: running });
      await runtime.stopPodSandbox({ podSandboxId: pod.id });
      await runtime.removePodSandbox({ podSandboxId: pod.id });
      const { containers } = await runtime.listContainers({ filter: { podSandboxId: pod.id } });
      assert.deepEqual(containers, []);
      rmSync(pod.config.logDirectory!, { recursive: true, force: true });
    };
    const absent = (error: { code?: number }) => {
      assert.equal(error.code, 5, String(error));
      return { status: undefined };
    };

    for (const { what, does } of deeds) {
      test(`${what}, while the daemon runs`, () =>
        bystander.watched(what, async () => {
          const made = await victim();
          does(made);
          await isReadAndRemoved(made);
        }));
    }

    for (const { what, does, lost } of deeds) {
      test(`${what}, while the daemon is down`, async () => {
        const made = await victim();
        await bench.daemon.kill();
        does(made);
        await bench.daemon.start();
        const { items } = await bench.daemon.runtime.listPodSandbox({ filter: { id: made.pod.id } });
        assert.equal(items.length, lost === 'pod' ? 0 : 1);
        await isReadAndRemoved(made);
        rmSync(join(bench.daemon.dataDir, 'v1/quarantine'), { recursive: true, force: true }); // for the operator to look at
      });
    }
  });
}
