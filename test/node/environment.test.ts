// An environment reaches the container byte for byte, also what is no UTF-8 and so cannot stand in config.json.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NamespaceMode } from '../../src/api/runtime/v1/cri.ts';
import { ownHost } from '../harness/own-host.ts';
import { inUserNamespace, type PodConfig, TestPod, until, untilExited } from '../harness/pods.ts';
import { ociRuntimes, suite } from '../harness/suite.ts';

await ownHost();

/** Every byte that a variable can have, and the text that such bytes look like on their way. */
const everything = Buffer.concat([Buffer.from(Array.from({ length: 255 }, (_, at) => at + 1)), Buffer.from('\x80ÿ')]);
const envs = [
  { key: 'EVERYTHING', value: everything },
  { key: 'TEXT', value: Buffer.from('\x80ÿ ä 😀') },
  { key: 'TWICE', value: Buffer.of(0xfe) },
  { key: 'TWICE', value: Buffer.from('ÿ') },
  { key: 'EVERY', value: Buffer.of(0xc3) },
  { key: 'HOSTNAME', value: Buffer.of(0xe4) },
];

const ownProcesses = { namespaceOptions: { pid: NamespaceMode.CONTAINER } };

/** The entries of a process's environ, by their names. */
function entriesOf(environ: Uint8Array): Map<string, Buffer> {
  const texts = Buffer.from(environ).toString('latin1').split('\0').slice(0, -1);
  return new Map(
    texts.map((text) => [text.slice(0, text.indexOf('=')), Buffer.from(text.slice(text.indexOf('=') + 1), 'latin1')]),
  );
}

function assertWhole(environ: Uint8Array): void {
  const found = entriesOf(environ);
  for (const [key, value] of new Map(envs.map((each) => [each.key, each.value])))
    assert.deepEqual(found.get(key), value, key);
  assert.ok(found.has('PATH') && found.has('HOME'));
}

for (const runtime of ociRuntimes) {
  suite(`environments with ${runtime}`, { handler: runtime }, (bench) => {
    const cases: [what: string, pod: PodConfig, context: object][] = [
      ['root', {}, ownProcesses],
      [
        'a user, and a root that is read-only',
        {},
        { ...ownProcesses, runAsUser: { value: 1000n }, readonlyRootfs: true, noNewPrivs: true },
      ],
      ...((runtime === 'crun'
        ? [['a user namespace', inUserNamespace(), inUserNamespace().linux.securityContext]]
        : []) as [string, PodConfig, object][]),
    ];
    for (const [what, pod, securityContext] of cases) {
      test(`it is whole for ${what}, in the container and in what is executed there`, async () => {
        const { runtime: cri } = bench.daemon;
        const made = await TestPod.run(bench.daemon, 'bytes', pod);
        const containerId = await made.start('c', bench.image.busybox, {
          command: ['sleep', '1000'], // found by PATH
          envs,
          linux: { securityContext },
        });
        await until('the command', async () => {
          const { stdout } = await cri.execSync({ containerId, cmd: ['cat', '/proc/1/cmdline'], timeout: 10n });
          return Buffer.from(stdout).toString() === 'sleep\x001000\0';
        });
        const first = await cri.execSync({ containerId, cmd: ['cat', '/proc/1/environ'], timeout: 10n });
        assertWhole(first.stdout);
        const own = await cri.execSync({ containerId, cmd: ['/bin/cat', '/proc/self/environ'], timeout: 10n });
        assertWhole(own.stdout);
        await cri.updateContainerResources({ containerId, linux: { cpuShares: 512n } });
        const after = await cri.execSync({ containerId, cmd: ['cat', '/proc/self/environ'], timeout: 10n });
        assertWhole(after.stdout);
        await bench.daemon.kill();
        await bench.daemon.start();
        const later = await bench.daemon.runtime.execSync({
          containerId,
          cmd: ['cat', '/proc/self/environ'],
          timeout: 10n,
        });
        assertWhole(later.stdout);
        const { info } = await bench.daemon.runtime.containerStatus({ containerId, verbose: true });
        const { config } = JSON.parse(info.info!) as { config: { envs: { key: string; value: string }[] } };
        assert.deepEqual(config.envs[1], { key: 'TEXT', value: '\x80ÿ ä 😀' });
      });
    }

    test('a command that is not there ends as a shell would end', async () => {
      const { runtime: cri } = bench.daemon;
      const pod = await TestPod.run(bench.daemon, 'nothing');
      const none = await pod.start('none', bench.image.busybox, { command: ['no-such'], envs });
      assert.equal((await untilExited(bench.daemon, none)).exitCode, 127);
      assert.match(pod.log('none')[0]!.text, /command no-such is not there/);
      const folder = await pod.start('folder', bench.image.busybox, { command: ['/etc'], envs });
      assert.equal((await untilExited(bench.daemon, folder)).exitCode, 126);
      await cri.removeContainer({ containerId: none });
    });

    test('who has text alone has nothing of it', async () => {
      const pod = await TestPod.run(bench.daemon, 'text');
      const containerId = await pod.start('c', bench.image.busybox, {
        command: ['sleep', '1000'],
        envs: [...envs.filter(({ key }) => key === 'TEXT' || key === 'TWICE').slice(0, 1)],
      });
      const { stdout } = await bench.daemon.runtime.execSync({ containerId, cmd: ['ls', '-A', '/'], timeout: 10n });
      assert.doesNotMatch(Buffer.from(stdout).toString(), /berth/);
    });
  });
}
