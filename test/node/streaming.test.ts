// Exec and attach as a client sees them: real containers, every byte counted.
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { buffer, text } from 'node:stream/consumers';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { ExecRequest } from '../../src/api/runtime/v1/cri.ts';
import { ownHost } from '../harness/own-host.ts';
import { TestPod, until, untilExited } from '../harness/pods.ts';
import { type Bench, ociRuntimes, suite } from '../harness/suite.ts';
import { type CommandClient, finish, openCommand, parseStatus, SpdyClient } from '../streaming/spdy-client.ts';

await ownHost();

const sleeping = ['/bin/sleep', '1000'];
const both = { stdout: true, stderr: true } as const;

async function execUrl(bench: Bench, containerId: string, script: string, more: Partial<ExecRequest>): Promise<string> {
  const cmd = ['/bin/sh', '-c', script];
  return (await bench.daemon.runtime.exec({ containerId, cmd, ...more })).url;
}

async function exec(bench: Bench, containerId: string, script: string, more: Partial<ExecRequest> = both) {
  const url = await execUrl(bench, containerId, script, more);
  const names = ['stdin', 'stdout', 'stderr'].filter((name) => more[name as 'stdin']);
  return openCommand(url, [...names, ...(more.tty ? ['resize'] : [])]);
}

async function attachTo(bench: Bench, containerId: string, more: Partial<ExecRequest> = both): Promise<CommandClient> {
  const { url } = await bench.daemon.runtime.attach({ containerId, ...more });
  const names = ['stdin', 'stdout', 'stderr'].filter((name) => more[name as 'stdin']);
  return openCommand(url, [...names, ...(more.tty ? ['resize'] : [])]);
}

/** Resolves when the stream has brought this text; what came so far is returned. */
async function untilText(client: CommandClient, wanted: string, name: 'stdout' | 'stderr' = 'stdout'): Promise<string> {
  let all = '';
  for await (const chunk of client[name].incoming.iterator({ destroyOnReturn: false })) {
    all += chunk;
    if (all.includes(wanted)) return all;
  }
  throw new Error(`It ended before ${JSON.stringify(wanted)}: ${JSON.stringify(all)}`);
}

const rssOf = (pid: number): number => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]);
const descriptorsOf = (pid: number): number => readdirSync(`/proc/${pid}/fd`).length;
const openFilesOf = (pid: number): string[] =>
  readdirSync(`/proc/${pid}/fd`).map((fd) => {
    try {
      return readlinkSync(`/proc/${pid}/fd/${fd}`);
    } catch {
      return ''; // it was closed meanwhile
    }
  });

/** The shim of the only pod of this daemon. */
function shimPid(bench: Bench): number {
  const found = readdirSync('/proc').find((name) => {
    try {
      const command = readFileSync(`/proc/${name}/cmdline`, 'utf8');
      return /^\d+$/.test(name) && command.includes('berth-shim') && command.includes(`${bench.daemon.runDir}/pods/`);
    } catch {
      return false;
    }
  });
  return Number(found);
}

for (const handler of ociRuntimes) {
  suite(`streams with ${handler}`, { handler }, (bench) => {
    test('exec: output, errors, exit codes, and a command that is not there', async () => {
      const pod = await TestPod.run(bench.daemon, 'exec');
      const id = await pod.start('c', bench.image.busybox, { command: sleeping });
      const cases = [
        { script: 'echo out; echo err >&2', stdout: 'out\n', stderr: 'err\n', code: 0 },
        { script: 'echo partial; exit 42', stdout: 'partial\n', stderr: '', code: 42 },
        { script: 'kill -9 $$', stdout: '', stderr: '', code: 137 },
        { script: 'echo again >/dev/stdout; echo wrong >/dev/stderr', stdout: 'again\n', stderr: 'wrong\n', code: 0 },
      ];
      for (const { script, code, ...output } of cases) {
        const { status, stdout, stderr } = await finish(await exec(bench, id, script));
        assert.deepEqual([`${stdout}`, `${stderr}`, status.code], [output.stdout, output.stderr, code], script);
      }
      const { url } = await bench.daemon.runtime.exec({ containerId: id, cmd: ['/no/such'], stdout: true });
      const { status } = await finish(await openCommand(url, ['stdout']));
      assert.deepEqual([status.status, status.code], ['Failure', -1]);
      assert.match(status.message!, /no\/such/);
      await pod.remove();
    });

    test('exec: what is not asked for is dropped, and the command does not notice', async () => {
      const pod = await TestPod.run(bench.daemon, 'dropped');
      const id = await pod.start('c', bench.image.busybox, { command: sleeping });
      const script = 'dd if=/dev/zero bs=64k count=64 2>/dev/null && echo fine >&2; cat; exit 3';
      const { status, stderr } = await finish(await exec(bench, id, script, { stderr: true }));
      assert.deepEqual([`${stderr}`, status.code], ['fine\n', 3]);
      await pod.remove();
    });

    test('exec: 200 MB go in and come out unchanged, and the end of the input is seen', async () => {
      const pod = await TestPod.run(bench.daemon, 'large');
      const id = await pod.start('c', bench.image.busybox, { command: sleeping });
      const client = await exec(bench, id, 'exec cat', { stdin: true, stdout: true });
      const block = randomBytes(1 << 20);
      const sent = createHash('sha256');
      const received = createHash('sha256');
      let size = 0;
      const reading = (async () => {
        for await (const chunk of client.stdout.incoming) {
          received.update(chunk);
          size += chunk.length;
        }
      })();
      for (let i = 0; i < 200; i++) {
        block.writeUInt32LE(i, 0);
        sent.update(block);
        await client.stdin.write(block);
      }
      client.stdin.end();
      await reading;
      const { code } = parseStatus(await text(client.error.incoming));
      client.client.close();
      assert.deepEqual([size, code], [200 << 20, 0]);
      assert.equal(received.digest('hex'), sent.digest('hex'));
      await pod.remove();
    });

    test('exec: a reader that stops costs bounded memory, and gets everything when it goes on', async () => {
      const pod = await TestPod.run(bench.daemon, 'slow');
      const id = await pod.start('c', bench.image.busybox, { command: sleeping });
      const before = rssOf(bench.daemon.pid);
      const script = 'dd if=/dev/zero bs=64k count=4800 2>/dev/null; echo done >/tmp/done';
      const url = await execUrl(bench, id, script, { stdout: true });
      const client = await openCommand(url, ['stdout']);
      client.client.socket.pause();
      let last = -1;
      await until('the standstill', async () => {
        await delay(100);
        const now = writtenBy(/^dd\0.*count.4800\0$/);
        const still = now > 0 && now === last;
        last = now;
        return still;
      });
      const grown = rssOf(bench.daemon.pid) - before;
      assert.ok(grown < 40 * 1024, `the daemon grew by ${grown} KiB`);
      client.client.socket.resume();
      let size = 0;
      for await (const chunk of client.stdout.incoming) size += chunk.length;
      assert.equal(size, 300 << 20);
      assert.equal(parseStatus(await text(client.error.incoming)).code, 0);
      client.client.close();
      await pod.remove();
    });

    test('exec: the output of a command that left children behind ends', async () => {
      const pod = await TestPod.run(bench.daemon, 'orphans');
      const id = await pod.start('c', bench.image.busybox, { command: sleeping });
      const { stdout, status } = await finish(await exec(bench, id, 'sleep 1000 & echo left'));
      assert.deepEqual([`${stdout}`, status.code], ['left\n', 0]);
      await pod.remove();
    });

    test('exec: a client that leaves hangs up on a terminal and on pipes, and nothing stays open', async () => {
      const pod = await TestPod.run(bench.daemon, 'leave');
      const id = await pod.start('c', bench.image.busybox, { command: sleeping });
      const warm = await exec(bench, id, 'exit 0');
      await finish(warm);
      const daemonBefore = descriptorsOf(bench.daemon.pid);
      const shimBefore = descriptorsOf(shimPid(bench));
      for (const tty of [false, true]) {
        const script = 'trap "echo hup >/tmp/hup; exit" HUP; echo ready; cat; echo over >/tmp/over';
        const client = await exec(bench, id, script, { stdin: true, stdout: true, tty });
        await untilText(client, 'ready');
        client.client.close();
        const file = tty ? '/tmp/hup' : '/tmp/over';
        await until(`${file}`, async () => {
          const { exitCode } = await bench.daemon.runtime.execSync({ containerId: id, cmd: ['/bin/ls', file] });
          return exitCode === 0;
        });
      }
      await until('the descriptors of the shim', async () => descriptorsOf(shimPid(bench)) <= shimBefore);
      const silent = await exec(bench, id, 'echo ready; sleep 1000', { stdout: true }); // it outlives its client
      await untilText(silent, 'ready');
      silent.client.close();
      await until('the descriptors of the daemon', async () => descriptorsOf(bench.daemon.pid) <= daemonBefore);
      await pod.remove();
    });

    test('exec on a terminal: echo, sizes, a flood of them, signals by key', async () => {
      const pod = await TestPod.run(bench.daemon, 'tty');
      const id = await pod.start('c', bench.image.busybox, { command: sleeping });
      const script = 'test -t 0 && test -t 1 && echo "TERM=$TERM"; while read line; do stty size; done';
      const client = await exec(bench, id, script, { stdin: true, stdout: true, tty: true });
      await untilText(client, 'TERM=xterm');
      for (let i = 1; i <= 5000; i++) void client.resize.write(`{"Width":${i},"Height":${i % 100}}\n`);
      void client.resize.write('{"Width":-1,"Height":1}{"Width":"x"}garbage');
      await client.resize.write('{"Width":101,"Height":37}\n');
      await until('the size', async () => {
        await client.stdin.write('\n');
        return (await untilText(client, '\n')).includes('37 101') || undefined;
      });
      await client.stdin.write('\x03');
      assert.notEqual(parseStatus(await text(client.error.incoming)).code, 0);
      client.client.close();
      await pod.remove();
    });

    test('attach: several at once, from now on, one that stops reading is cut off, and the log has every line', async () => {
      const pod = await TestPod.run(bench.daemon, 'attach');
      const script = 'while read word; do [ $word = go ] && exec seq 100000001 101500000; echo $word; done';
      const id = await pod.sh('c', bench.image.busybox, script, { stdin: true });
      const clients = await Promise.all([1, 2, 3, 4].map(() => attachTo(bench, id)));
      const feeder = await attachTo(bench, id, { stdin: true, stdout: true });
      let greeted = 0;
      for (const client of clients) untilText(client, 'hi\n').then(() => greeted++);
      await until('all are attached', async () => {
        await feeder.stdin.write('hi\n');
        return greeted === clients.length;
      });
      const stuck = clients.pop()!;
      stuck.client.socket.pause();
      await feeder.stdin.write('go\n');
      const all = await Promise.all([...clients, feeder].map((client) => finish(client)));
      const wanted = Array.from({ length: 1_500_000 }, (_, index) => String(100_000_001 + index));
      for (const { stdout, status } of all) {
        assert.equal(status.code, 0);
        assert.ok(`${stdout}`.replace(/^(hi\n)*/, '') === `${wanted.join('\n')}\n`, 'an output');
      }
      await untilExited(bench.daemon, id);
      const logged = pod.log('c').flatMap((line) => (line.text === 'hi' ? [] : [line.text]));
      assert.ok(logged.join() === wanted.join(), 'the log');
      stuck.client.socket.resume();
      assert.ok((await finish(stuck)).stdout.length < wanted.length * 10, 'it was not cut off');
      await pod.remove();
    });

    test('attach: stdin_once ends the input of the container, otherwise the client detaches', async () => {
      const pod = await TestPod.run(bench.daemon, 'once');
      const script = 'cat; echo over';
      const once = await pod.sh('once', bench.image.busybox, script, { stdin: true, stdinOnce: true });
      const client = await attachTo(bench, once, { stdin: true, ...both });
      await client.stdin.write('hello\n');
      await untilText(client, 'hello\n');
      client.stdin.end();
      assert.match(`${(await finish(client)).stdout}`, /over\n$/);
      assert.equal((await untilExited(bench.daemon, once)).exitCode, 0);

      const kept = await pod.sh('kept', bench.image.busybox, script, { stdin: true });
      for (const word of ['first', 'second']) {
        const next = await attachTo(bench, kept, { stdin: true, ...both });
        await next.stdin.write(`${word}\n`);
        await untilText(next, `${word}\n`);
        next.stdin.end();
        assert.equal((await finish(next)).status.code, 0);
      }
      assert.deepEqual(
        pod.log('kept').map((line) => line.text),
        ['first', 'second'],
      );
      const leaver = await pod.sh('leaver', bench.image.busybox, script, { stdin: true, stdinOnce: true });
      const gone = await attachTo(bench, leaver, { stdin: true, ...both });
      await gone.stdin.write('x\n');
      await untilText(gone, 'x\n');
      gone.client.close();
      assert.equal((await untilExited(bench.daemon, leaver)).exitCode, 0);
      await pod.remove();
    });

    test('attach to a terminal, and again after the daemon was killed', async () => {
      const pod = await TestPod.run(bench.daemon, 'again');
      const id = await pod.start('c', bench.image.busybox, { command: ['/bin/sh'], stdin: true, tty: true });
      const shim = shimPid(bench);
      const taps = () => openFilesOf(shim).filter((target) => target.startsWith('pipe:')).length;
      const talk = async (word: string, columns: number) => {
        const client = await attachTo(bench, id, { stdin: true, stdout: true, tty: true });
        const plain = await attachTo(bench, id); // a client that knows of no terminal sees the same
        await until('both taps', async () => taps() === 2);
        const seen = untilText(plain, `33 ${columns}`);
        await client.resize.write(`{"Width":${columns},"Height":33}`);
        await client.stdin.write(`echo ${word}-$((40+2)); stty size\n`);
        await Promise.all([untilText(client, `33 ${columns}`), seen]);
        plain.client.close();
        client.client.close();
        await until('the end of both', async () => taps() === 0);
      };
      await talk('before', 77);
      await bench.daemon.kill();
      await bench.daemon.start();
      await talk('after', 88);
      assert.ok(pod.log('c').some((line) => line.text.includes('after-42')));
      await pod.remove();
    });

    test('attach: a thousand clients, and nothing is left of them', async () => {
      const pod = await TestPod.run(bench.daemon, 'thousand');
      const script = 'read a; echo heard; read b';
      const id = await pod.sh('c', bench.image.busybox, script, { stdin: true });
      const shim = shimPid(bench);
      const idle = descriptorsOf(shim);
      await finish(await exec(bench, id, 'exit 0'));
      await until('the exec is gone', async () => descriptorsOf(shim) <= idle);
      const before = [descriptorsOf(bench.daemon.pid), descriptorsOf(shim)];
      const clients: CommandClient[] = [];
      for (let i = 0; i < 20; i++) {
        clients.push(...(await Promise.all(Array.from({ length: 50 }, () => attachTo(bench, id, { stdout: true })))));
      }
      // Each has its tap when it is there; the last to be asked for stands for none of the others.
      await until('all taps', async () => descriptorsOf(shim) >= before[1]! + 1000);
      const feeder = await attachTo(bench, id, { stdin: true, stdout: true });
      await feeder.stdin.write('now\n');
      await Promise.all(clients.map((client) => untilText(client, 'heard\n')));
      for (const { client } of [...clients, feeder]) client.close();
      await until('its descriptors', async () => descriptorsOf(bench.daemon.pid) <= before[0]! + 2);
      await until("the shim's descriptors", async () => descriptorsOf(shim) <= before[1]!);
      await pod.remove();
    });

    test('port-forward: IPv4, IPv6, the host, half-close, refusals, many at once', async () => {
      const pod = await TestPod.run(bench.daemon, 'forward');
      const echo = (port: number, address: string) => `tcpsvd -c 100 -b 100 ${address} ${port} cat`;
      await pod.sh('c', bench.image.busybox, `${echo(7001, '127.0.0.1')} & ${echo(7002, '::1')} & wait`);
      const { url } = await bench.daemon.runtime.portForward({ podSandboxId: pod.id, port: [] });
      const client = await SpdyClient.connect(url, 'portforward.k8s.io');
      let serial = 0;
      const open = (port: number) => {
        const headers = { port: String(port), requestID: String(serial++) };
        const error = client.open({ streamType: 'error', ...headers });
        return { error, data: client.open({ streamType: 'data', ...headers }) };
      };
      for (const port of [7001, 7002]) {
        await until(`port ${port}`, async () => {
          const { error, data } = open(port);
          await data.write('hello');
          data.end(); // and yet the answer comes
          const [answer, problem] = [await buffer(data.incoming), await text(error.incoming)];
          return problem === '' && `${answer}` === 'hello';
        });
      }
      const block = randomBytes(256 * 1024);
      const answers = await Promise.all(
        Array.from({ length: 50 }, async () => {
          const { data } = open(7001);
          await data.write(block);
          data.end();
          return buffer(data.incoming);
        }),
      );
      for (const answer of answers) assert.ok(answer.equals(block));
      const nobody = open(7003);
      assert.match(await text(nobody.error.incoming), /7003.*ECONNREFUSED/);
      client.ping(1);
      await until('the answer to a ping', async () => client.pings.includes(1));
      client.close();
      await pod.remove();
    });
  });
}

/** What the one process with this command line has written so far, in bytes; 0 while there is none. */
function writtenBy(command: RegExp): number {
  for (const name of readdirSync('/proc')) {
    try {
      if (!command.test(readFileSync(`/proc/${name}/cmdline`, 'utf8'))) continue;
      return Number(/wchar: (\d+)/.exec(readFileSync(`/proc/${name}/io`, 'utf8'))![1]);
    } catch {} // no process, or it ended
  }
  return 0;
}
