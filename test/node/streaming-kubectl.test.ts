// kubectl's own library on the other side: its SPDY and its WebSocket, its exit codes, its port-forward.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { buffer } from 'node:stream/consumers';
import { before, test } from 'node:test';
import type { ExecRequest } from '../../src/api/runtime/v1/cri.ts';
import { ensureStreamClient } from '../conformance/go.ts';
import { ownHost } from '../harness/own-host.ts';
import { hostNetwork, TestPod, until } from '../harness/pods.ts';
import { ociRuntimes, suite } from '../harness/suite.ts';

await ownHost(ensureStreamClient);

let program = '';
before(async () => {
  program = await ensureStreamClient();
});

function client(url: string, transport: string, ...more: string[]): ChildProcess {
  const args = ['-url', url, '-transport', transport, ...more];
  return spawn(program, args, { stdio: 'pipe', env: {}, timeout: 60_000, killSignal: 'SIGKILL' });
}

const sha = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

async function ended(child: ChildProcess, input: string | Buffer = '') {
  child.stdin!.end(input);
  const closed = once(child, 'close');
  const [stdout, stderr] = await Promise.all([buffer(child.stdout!), buffer(child.stderr!)]);
  const [code] = await closed;
  return { code, stdout, stderr: stderr.toString() };
}

for (const handler of ociRuntimes) {
  suite(`kubectl's client with ${handler}`, { handler }, (bench) => {
    for (const transport of ['spdy', 'websocket']) {
      test(`${transport}: exec`, async () => {
        const pod = await TestPod.run(bench.daemon, `exec-${transport}`);
        const containerId = await pod.sh('c', bench.image.busybox, 'sleep 1000');
        const exec = async (script: string, more: Partial<ExecRequest>, ...flags: string[]) => {
          const cmd = ['/bin/sh', '-c', script];
          return client((await bench.daemon.runtime.exec({ containerId, cmd, ...more })).url, transport, ...flags);
        };
        const output = { stdout: true, stderr: true } as const;
        const plain = await ended(await exec('echo out; echo err >&2; exit 7', output, '-stdout', '-stderr'));
        assert.deepEqual([plain.code, `${plain.stdout}`, plain.stderr], [7, 'out\n', 'err\n']);
        const fine = await ended(await exec('true', output, '-stdout', '-stderr'));
        assert.deepEqual([fine.code, fine.stderr], [0, '']);
        const large = randomBytes(32 << 20);
        const cat = await exec('cat; exit 3', { stdin: true, stdout: true }, '-stdin', '-stdout');
        const echoed = await ended(cat, large);
        assert.deepEqual([echoed.code, sha(echoed.stdout)], [3, sha(large)]);
        const tty = { stdin: true, stdout: true, tty: true } as const;
        const sized = await exec(
          'until stty size 2>/dev/null | grep 37.101; do :; done; exit 4',
          tty,
          ...['-stdin', '-stdout', '-tty', '-size', '101x37'],
        );
        const terminal = await ended(sized);
        assert.deepEqual([terminal.code, terminal.stdout.toString().trim()], [4, '37 101']);
        await pod.remove();
      });

      test(`${transport}: attach`, async () => {
        const pod = await TestPod.run(bench.daemon, `attach-${transport}`);
        const script = 'while read line; do echo "got $line"; done; echo over; exit 5';
        const containerId = await pod.sh('c', bench.image.busybox, script, { stdin: true, stdinOnce: true });
        const request = { containerId, stdin: true, stdout: true, stderr: true };
        const child = client(
          (await bench.daemon.runtime.attach(request)).url,
          transport,
          '-stdin',
          '-stdout',
          '-stderr',
        );
        const { code, stdout } = await ended(child, 'one\ntwo\n');
        assert.equal(code, 0);
        assert.equal(`${stdout}`, 'got one\ngot two\nover\n');
        await pod.remove();
      });

      for (const [where, more] of Object.entries({ pod: {}, host: hostNetwork })) {
        test(`${transport}: port-forward into the network of the ${where}`, async () => {
          const pod = await TestPod.run(bench.daemon, `forward-${where}-${transport}`, more);
          const port = where === 'pod' ? 8080 : 20_000;
          const script = `mkdir /www; echo forwarded >/www/index.html; exec httpd -f -p 127.0.0.1:${port} -h /www`;
          const containerId = await pod.sh('c', bench.image.busybox, script, more);
          await until('the server', async () => {
            const cmd = ['/bin/wget', '-qO-', `http://127.0.0.1:${port}/`];
            return (await bench.daemon.runtime.execSync({ containerId, cmd, timeout: 10n })).exitCode === 0;
          });
          const { url } = await bench.daemon.runtime.portForward({ podSandboxId: pod.id, port: [port] });
          const child = client(url, transport, '-ports', `0:${port}`);
          let local = '';
          for await (const line of createInterface({ input: child.stdout! })) {
            local = /127\.0\.0\.1:(\d+) ->/.exec(line)?.[1] ?? '';
            if (local) break;
          }
          const page = await (await fetch(`http://127.0.0.1:${local}/`, { headers: { connection: 'close' } })).text();
          assert.equal(page, 'forwarded\n');
          child.stdout!.resume();
          child.stdin!.end();
          await once(child, 'close');
          await pod.remove();
        });
      }
    }
  });
}
