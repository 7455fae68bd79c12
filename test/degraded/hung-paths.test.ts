// A path of the host that hangs, as a volume of a file server that is gone or that a stranger runs, holds up who asked for
// it and nobody else: neither the event loop nor the threads that others need. The pod can be removed while it hangs.
import assert from 'node:assert/strict';
import { copyFileSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { slowness } from '../harness/daemon.ts';
import { Hung, processesNamed } from '../harness/hung.ts';
import { ownHost } from '../harness/own-host.ts';
import { type ContainerConfig, hostNetwork, type PodConfig, refused, TestPod, until } from '../harness/pods.ts';
import { type Bench, suite } from '../harness/suite.ts';
import { program } from '../images/run.ts';

await ownHost();

/** What is made there goes with the test's host. */
const base = tmpdir();

/** More than the threads that libuv has. */
const atOnce = 10;
const hostPathSeconds = 5 * slowness;
const settings = {
  timeouts: { host_path: hostPathSeconds, oci_runtime: 5 * slowness },
  cdi: { spec_dirs: [`${base}/cdi`] },
  cni: { conf_dir: `${base}/net.d`, bin_dirs: [`${base}/plugins`, '/usr/lib/cni'] },
  images: {
    certs_dir: `${base}/certs.d`,
    registries_conf: `${base}/registries/registries.conf`,
    auth_file: `${base}/login/auth.json`,
  },
};
for (const folder of ['net.d', 'plugins', 'registries', 'login', 'certs.d']) mkdirSync(join(base, folder));
writeFileSync(join(base, 'registries/registries.conf'), 'unqualified-search-registries = ["docker.io"]');
writeFileSync(join(base, 'net.d/n.conflist'), '{"name":"n","cniVersion":"1.0.0","plugins":[{"type":"bridge"}]}');
const DEADLINE_EXCEEDED = 4;
const FAILED_PRECONDITION = 9;
const looker = 'berth-look';
const opener = 'berth-log';
const sleeper = { command: ['/bin/sleep', '1000'] };

type Kind = {
  /** Of a container that names the path which hangs; `at`: where it is mounted. */
  readonly config: (at: string) => ContainerConfig;
  readonly pod?: (at: string) => PodConfig;
  /** What the refusal names, if not the path. */
  readonly named?: (at: string) => string;
  /** Where it is mounted, if not in a place of its own. */
  readonly at?: string;
};

const mountOf = (hostPath: string): ContainerConfig => ({ mounts: [{ hostPath, containerPath: '/x' }] });
const deviceOf = (hostPath: string): ContainerConfig => ({
  devices: [{ hostPath, containerPath: '/dev/x', permissions: 'r' }],
});
const map = [{ hostId: 300_000, containerId: 0, length: 65_536 }];

/** Everything of CreateContainer that names a path of the host. */
const kinds: Record<string, Kind> = {
  'a mount': { config: mountOf },
  'a mount below it': { config: (at) => mountOf(`${at}/a/b`), named: (at) => `${at}/a/b` },
  'a mount that a link leads to': {
    config: (at) => {
      rmSync(`${base}/link`, { force: true });
      symlinkSync(at, `${base}/link`);
      return mountOf(`${base}/link/sub`);
    },
    named: () => `${base}/link/sub`,
  },
  'a mount with mapped owners': {
    config: (at) => ({ mounts: [{ hostPath: at, containerPath: '/x', uidMappings: map, gidMappings: map }] }),
  },
  'a device': { config: (at) => deviceOf(`${at}/device`), named: (at) => `${at}/device` },
  'a directory of devices': {
    at: `${base}/devices/sub/hung`,
    config: () => deviceOf(`${base}/devices`),
    named: () => `${base}/devices/sub`,
  },
  'a seccomp profile': {
    config: (at) => ({ linux: { securityContext: { seccomp: { profileType: 2, localhostRef: `${at}/profile` } } } }),
    named: (at) => `${at}/profile`,
  },
  'a directory of CDI specifications': {
    at: `${base}/cdi`,
    config: () => ({ CDIDevices: [{ name: 'hung.example/node=a' }] }),
  },
  'a CDI device node': {
    config: (at) => {
      const devices = [{ name: 'a', containerEdits: { deviceNodes: [{ path: '/dev/x', hostPath: `${at}/node` }] } }];
      mkdirSync(`${base}/cdi`, { recursive: true });
      writeFileSync(`${base}/cdi/a.json`, JSON.stringify({ cdiVersion: '0.6.0', kind: 'hung.example/node', devices }));
      return { CDIDevices: [{ name: 'hung.example/node=a' }] };
    },
    named: (at) => `${at}/node`,
  },
  'the log directory': {
    config: () => ({ logPath: 'c/0.log' }),
    pod: (at) => ({ logDirectory: `${at}/logs` }),
    named: (at) => `${at}/logs`,
  },
};

let serial = 0;
const place = (): string => `${base}/hung-${serial++}`;

/** A pod with a container that runs, of which others ask things. */
async function bystander({ daemon, image }: Bench): Promise<() => Promise<void>> {
  const pod = await TestPod.run(daemon, `bystander-${serial}`, hostNetwork);
  const containerId = await pod.start('c', image.busybox, sleeper);
  return async () => {
    await daemon.runtime.version({});
    await daemon.runtime.status({});
    const { containers } = await daemon.runtime.listContainers({ filter: { id: containerId } });
    assert.equal(containers.length, 1);
    const { stdout } = await daemon.runtime.execSync({ containerId, cmd: ['/bin/echo', 'here'], timeout: 30n });
    assert.equal(Buffer.from(stdout).toString(), 'here\n');
    const other = await TestPod.run(daemon, `other-${serial++}`, hostNetwork);
    await other.sh('c', image.busybox, 'true');
    await other.remove();
  };
}

const runPods = ({ daemon }: Bench, more: PodConfig = {}): Promise<TestPod[]> =>
  Promise.all(
    Array.from({ length: atOnce }, () => TestPod.run(daemon, `stuck-${serial++}`, { ...hostNetwork, ...more })),
  );

const escaped = (text: string): string => text.replaceAll(/[.\\]/g, '\\$&');

/**
 * Each call hangs, in a process of this name; nobody else waits meanwhile; each ends with the path named, and its pod can be
 * removed.
 */
async function eachHangsAlone(
  bench: Bench,
  pods: readonly TestPod[],
  call: (pod: TestPod) => Promise<unknown>,
  named: string,
  name: string,
): Promise<void> {
  const others = await bystander(bench);
  let ended = 0;
  const calls = pods.map((pod) =>
    refused(
      call(pod).finally(() => ended++),
      DEADLINE_EXCEEDED,
      new RegExp(escaped(named)),
    ),
  );
  const all = Promise.all(calls);
  all.catch(() => {}); // it is awaited below
  const { pid } = bench.daemon;
  await until('every call hangs', async () => ended > 0 || processesNamed(name, pid).length === pods.length);
  await others();
  assert.equal(ended, 0, 'the others had their answers while all hung');
  await all;
  await until('none is left', async () => processesNamed(name, pid).length === 0); // while their shims live, whose children they may be
  for (const pod of pods) await bench.daemon.runtime.stopPodSandbox({ podSandboxId: pod.id });
  for (const pod of pods) await pod.remove();
}

suite('paths that hang', { network: false, settings }, (bench) => {
  for (const [name, { config, pod, named, at = place() }] of Object.entries(kinds)) {
    test(`${name} keeps nobody else waiting`, async () => {
      const made = config(at);
      await using _ = await Hung.at(at);
      const pods = await runPods(bench, pod?.(at));
      const create = (each: TestPod) => each.create('c', bench.image.busybox, { ...sleeper, ...made });
      await eachHangsAlone(bench, pods, create, named?.(at) ?? at, looker);
    });
  }

  test('a log directory that hangs when containers start', async () => {
    const at = place();
    const pods = await runPods(bench, { logDirectory: `${at}/logs` });
    const ids = new Map<TestPod, string>();
    for (const pod of pods) ids.set(pod, await pod.create(`c-${pod.id}`, bench.image.busybox, sleeper));
    await using _ = await Hung.at(at);
    const start = (pod: TestPod) => bench.daemon.runtime.startContainer({ containerId: ids.get(pod)! });
    await eachHangsAlone(bench, pods, start, `Opening log "${at}/logs/c-`, opener);
  });

  test('a log directory that hangs when logs are opened anew; the containers write on', async () => {
    const at = place();
    const pods = await runPods(bench, { logDirectory: `${at}/logs` });
    const ids = new Map<TestPod, string>();
    for (const pod of pods) ids.set(pod, await pod.start(`c-${pod.id}`, bench.image.busybox, sleeper));
    await using _ = await Hung.at(at);
    const reopen = (pod: TestPod) => bench.daemon.runtime.reopenContainerLog({ containerId: ids.get(pod)! });
    await eachHangsAlone(bench, pods, reopen, `Opening log "${at}/logs/c-`, opener);
  });

  /** What an operator names, and who asks for it: each call hangs, nobody else waits, each ends with the path named. */
  const operators: Record<string, { at: string; call: (index: number) => Promise<unknown> }> = {
    'mirrors and their certificates': {
      at: `${base}/certs.d`,
      call: (index) => bench.daemon.images.pullImage({ image: { image: `r${index}.invalid/app:1` } }),
    },
    'credentials of the node': {
      at: `${base}/login`,
      call: (index) => bench.daemon.images.pullImage({ image: { image: `r${index}.invalid/app:1` } }),
    },
    'what short names mean': {
      at: `${base}/registries`,
      call: (index) => bench.daemon.images.pullImage({ image: { image: `app${index}` } }),
    },
    'network configurations': {
      at: `${base}/net.d`,
      call: (index) => TestPod.run(bench.daemon, `net-${index}`),
    },
    'network plugins': {
      at: `${base}/plugins`,
      call: (index) => TestPod.run(bench.daemon, `plugin-${index}`),
    },
  };
  for (const [what, { at, call }] of Object.entries(operators)) {
    test(`${what} that hang delay who asks for them, and nobody else`, async () => {
      const others = await bystander(bench);
      await using hung = await Hung.at(at, { taking: true });
      let ended = 0;
      const calls = Array.from({ length: atOnce }, (_, index) =>
        refused(
          call(index).finally(() => ended++),
          DEADLINE_EXCEEDED,
          new RegExp(escaped(at)),
        ),
      );
      const all = Promise.all(calls);
      all.catch(() => {});
      await others();
      assert.equal(ended, 0, 'the others had their answers while all hung');
      await all;
      await hung.answer();
      await until('none is left', async () => processesNamed(looker, bench.daemon.pid).length === 0);
    });
  }
});

/** Where the programs of handlers are. */
const programs = `${base}/programs`;
mkdirSync(programs);
copyFileSync(program('crun', 'crun'), join(programs, 'slow'));
mkdirSync(join(base, 'other.d'));
writeFileSync(join(base, 'other.d/n.conflist'), '{"name":"n","cniVersion":"1.0.0","plugins":[{"type":"absent"}]}');
const withPrograms = {
  ...settings,
  cni: { ...settings.cni, conf_dir: `${base}/other.d` },
  default_handler: 'slow',
  handlers: { slow: { path: join(programs, 'slow') } },
};

suite('programs of handlers that hang', { network: false, settings: withPrograms }, (bench) => {
  test('the node is told not to be ready, containers do not start, and their pods can be removed', async () => {
    const { runtime } = bench.daemon;
    const pod = await TestPod.run(bench.daemon, 'hung-program', hostNetwork);
    const running = await pod.start('running', bench.image.busybox, sleeper);
    const created = await pod.create('created', bench.image.busybox, sleeper);
    await using hung = await Hung.at(programs, { taking: true });
    const start = refused(runtime.startContainer({ containerId: created }), DEADLINE_EXCEEDED);
    /** One look that failed may be a busy host's. */
    const status = runtime.status({}).then(({ status: first }) => {
      assert.equal(first!.conditions[0]!.status, true);
      return runtime.status({ verbose: true });
    });
    let over = false;
    void Promise.allSettled([start, status]).then(() => {
      over = true;
    });
    await runtime.version({});
    assert.equal((await runtime.containerStatus({ containerId: running })).status!.state, 1);
    const plugin = TestPod.run(bench.daemon, 'plugin');
    await refused(plugin, FAILED_PRECONDITION, /absent/);
    assert.equal(over, false, 'the others had their answers while it hung');
    const [ready] = (await status).status!.conditions;
    assert.equal(ready!.status, false);
    assert.match(
      ready!.message,
      new RegExp(`OCI runtime ${programs}/slow of the default handler slow cannot be looked at: .*file server`),
    );
    await start;
    await hung.answer();
    await runtime.stopContainer({ containerId: running, timeout: 0n });
    await pod.remove();
  });

  test('network plugins that hang say nothing of the OCI runtime', async () => {
    const { runtime } = bench.daemon;
    await using hung = await Hung.at(`${base}/plugins`, { taking: true });
    const attached = refused(TestPod.run(bench.daemon, 'plugin'), DEADLINE_EXCEEDED, new RegExp(`${base}/plugins`));
    let over = false;
    void attached.then(() => {
      over = true;
    });
    // Each looks at the plugins too: the first makes sure that they hang, and were there one reader, the second would be over with it.
    for (let look = 0; look < 3; look++) {
      const [ready] = (await runtime.status({})).status!.conditions;
      assert.equal(ready!.status, true, ready!.message);
    }
    assert.equal(over, false, 'all had their answers while it hung');
    await attached;
    await hung.answer();
  });
});
