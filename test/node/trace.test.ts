// `berth trace` as an operator calls it, of real pods.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { ownHost } from '../harness/own-host.ts';
import { TestPod } from '../harness/pods.ts';
import { suite } from '../harness/suite.ts';

await ownHost();

const main = resolve(import.meta.dirname, '../../src/main.ts');

suite('berth trace', {}, (bench) => {
  const trace = (...args: string[]): string =>
    execFileSync(process.execPath, [main, '--config', bench.daemon.configFile, 'trace', ...args], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    });

  test("shows each step of a pod's calls, the processes that the shim ran among them", async (t) => {
    const pod = await TestPod.run(bench.daemon, 'traced');
    const containerId = await pod.sh('c', bench.image.busybox, 'sleep 1000');
    await bench.daemon.runtime.execSync({ containerId, cmd: ['/bin/true'], timeout: 10n });
    await bench.daemon.runtime.stopContainer({ containerId, timeout: 0n });
    await bench.daemon.runtime.removePodSandbox({ podSandboxId: pod.id });
    const text = trace(pod.id.slice(0, 12));
    t.diagnostic(text);
    const calls = text.match(/^[A-Z]\w+/gm);
    const life = [
      'RunPodSandbox',
      'CreateContainer',
      'StartContainer',
      'ExecSync',
      'StopContainer',
      'RemovePodSandbox',
    ];
    assert.deepEqual(calls, life);
    for (const name of ['record: pod', 'cgroup: make', 'process: pause', 'process: bridge ADD', 'mount: root'])
      assert.match(text, new RegExp(`^ +${name}.* \\d+(?:\\.\\d\\d)? +\\|.*[█▏▎▍▌▋▊▉]`, 'm'), name);
    for (const name of ['process: crun run', 'process: crun exec', 'wait: its end', 'process: bridge DEL'])
      assert.match(text, new RegExp(`^ +${name}`, 'm'), name);
  });

  test('draws a picture', async () => {
    const pod = await TestPod.run(bench.daemon, 'drawn');
    const folder = mkdtempSync(join(tmpdir(), 'berth-trace-'));
    try {
      const file = join(folder, 'pod.svg');
      assert.match(trace(pod.id, '--svg', file), /pod\.svg: 1 calls/);
      assert.match(readFileSync(file, 'utf8'), /^<svg .*process: pause.*<\/svg>\n$/s);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test('shows what a pull spent its time on, by any name of the image', async (t) => {
    await bench.daemon.images.removeImage({ image: { image: bench.image.busybox } });
    await bench.daemon.images.pullImage({ image: { image: bench.image.busybox } });
    const text = trace(bench.image.busybox);
    t.diagnostic(text);
    assert.match(text, new RegExp(`^image ${bench.image.busybox}\n`));
    for (const name of ['registry: open', 'registry: documents', 'registry: first bytes of sha256:', 'unpack: sha256:'])
      assert.match(text, new RegExp(`^ +${name}.* \\d+(?:\\.\\d\\d)? +\\|.*[█▏▎▍▌▋▊▉]`, 'm'), name);
    assert.match(text, /ms by kind: .*unpack/);
    const pulled = bench.daemon.logged.find(({ msg }) => msg === 'An image was pulled')!;
    assert.deepEqual([pulled.image, pulled.hosts], [bench.image.busybox, [bench.image.busybox.split('/')[0]]]);
    assert.ok(Number(pulled.bytes) > 100_000 && Number(pulled.ms) > 0);
  });

  test('a pod without a trace is an error that says so', () => {
    assert.throws(
      () => trace('0123456789ab'),
      /No trace of a pod or an image 0123456789ab: .* since the daemon started/,
    );
    assert.throws(() => trace(), /berth trace takes WHAT too: see berth trace --help/);
  });
});
