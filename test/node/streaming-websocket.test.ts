// Every WebSocket subprotocol that kubelet's library serves, message by message, on real containers.
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { test } from 'node:test';
import type { ExecRequest } from '../../src/api/runtime/v1/cri.ts';
import { ownHost } from '../harness/own-host.ts';
import { TestPod, until, untilExited } from '../harness/pods.ts';
import { type Bench, ociRuntimes, suite } from '../harness/suite.ts';
import { parseStatus, upgrade } from '../streaming/spdy-client.ts';
import { ChannelClient } from '../streaming/websocket-client.ts';

await ownHost();

const old = ['', 'channel.k8s.io', 'base64.channel.k8s.io'] as const;
const withStatus = ['v4.channel.k8s.io', 'v4.base64.channel.k8s.io', 'v5.channel.k8s.io'] as const;
const forwards = ['', 'v4.channel.k8s.io', 'v4.base64.channel.k8s.io'] as const;
const [stdin, stdout, stderr, error, resize] = [0, 1, 2, 3, 4] as const;
const all = { stdin: true, stdout: true, stderr: true } as const;

const named = (protocol: string) => protocol || 'no subprotocol';

async function exec(bench: Bench, id: string, script: string, protocol: string, more: Partial<ExecRequest> = all) {
  const cmd = ['/bin/sh', '-c', script];
  return ChannelClient.open((await bench.daemon.runtime.exec({ containerId: id, cmd, ...more })).url, protocol);
}

for (const handler of ociRuntimes) {
  suite(`WebSocket with ${handler}`, { handler }, (bench) => {
    for (const protocol of [...old, ...withStatus]) {
      const hasStatus = withStatus.includes(protocol as (typeof withStatus)[number]);

      test(`exec: ${named(protocol)}`, async () => {
        const pod = await TestPod.run(bench.daemon, 'exec');
        const id = await pod.sh('c', bench.image.busybox, 'sleep 1000');
        const failing = await exec(bench, id, 'read line; echo "got $line"; echo err >&2; exit 7', protocol);
        failing.send(stdin, 'a word\n');
        assert.equal(await failing.closed, 1000);
        assert.deepEqual(failing.frames[0], { channel: stdout, body: Buffer.alloc(0) }, 'the streams are there');
        assert.deepEqual([failing.text(stdout), failing.text(stderr)], ['got a word\n', 'err\n']);
        if (hasStatus) assert.equal(parseStatus(failing.text(error)).code, 7);
        else assert.match(failing.text(error), /^command terminated .*exit status 7$/);

        const fine = await exec(bench, id, 'true', protocol, { stderr: true });
        assert.equal(await fine.closed, 1000);
        assert.equal(fine.frames[0]?.channel, stderr, 'the first stream that is written to');
        assert.equal(fine.text(error), hasStatus ? '{"metadata":{},"status":"Success"}' : '');
        assert.equal(
          fine.frames.some(({ channel }) => channel === error),
          hasStatus,
        );
        const deaf = await exec(bench, id, 'true', protocol, { stdin: true });
        assert.equal(await deaf.closed, 1000);
        assert.equal(deaf.frames[0]?.channel, error);

        const every = Buffer.from(Array.from({ length: 256 }, (_, index) => index));
        const large = Buffer.concat([every, randomBytes(3 << 20)]);
        const echo = await exec(bench, id, `head -c ${large.length}`, protocol);
        for (let at = 0; at < large.length; at += 32 << 10) echo.send(stdin, large.subarray(at, at + (32 << 10)));
        assert.equal(await echo.closed, 1000);
        assert.ok(echo.bytes(stdout).equals(large), 'every byte comes back');

        const script = 'until stty size 2>/dev/null | grep 37.101; do :; done; exit 4';
        const sized = await exec(bench, id, script, protocol, { stdin: true, stdout: true, tty: true });
        sized.send(resize, '{"Width":101,"Height":37}\n');
        assert.equal(await sized.closed, 1000);
        assert.equal(sized.text(stdout).trim(), '37 101');
        await pod.remove();
      });

      test(`attach: ${named(protocol)}`, async () => {
        const pod = await TestPod.run(bench.daemon, 'attach');
        const script = 'while read line; do echo "got $line"; done; echo over >&2';
        const id = await pod.sh('c', bench.image.busybox, script, { stdin: true, stdinOnce: true });
        const { url } = await bench.daemon.runtime.attach({ containerId: id, ...all });
        const client = await ChannelClient.open(url, protocol);
        client.send(stdin, 'one\ntwo\n');
        await until('its answer', async () => client.text(stdout) === 'got one\ngot two\n');
        if (protocol === 'v5.channel.k8s.io') {
          client.socket.send(Buffer.of(255, stdin));
          assert.equal(await client.closed, 1000);
          assert.equal(client.text(stderr), 'over\n');
        } else client.socket.close(); // there is no other way to say that the input is over
        assert.equal((await untilExited(bench.daemon, id)).exitCode, 0);
        await pod.remove();
      });
    }

    for (const protocol of forwards) {
      test(`port-forward: ${named(protocol)}`, async () => {
        const pod = await TestPod.run(bench.daemon, 'forward');
        const serve = (port: number, command: string) => `tcpsvd -c 100 -b 100 127.0.0.1 ${port} ${command}`;
        const servers = [serve(7001, 'cat'), serve(7002, 'cat'), serve(7004, 'echo bye')];
        const id = await pod.sh('c', bench.image.busybox, `${servers.join(' & ')} & wait`);
        await until('the servers', async () => {
          const cmd = ['/bin/sh', '-c', 'netstat -ltn | grep -cE ":700[124] "'];
          const { stdout: lines } = await bench.daemon.runtime.execSync({ containerId: id, cmd, timeout: 10n });
          return `${Buffer.from(lines)}`.trim() === '3';
        });
        const connect = async (...port: number[]) => {
          const { url } = await bench.daemon.runtime.portForward({ podSandboxId: pod.id, port });
          return ChannelClient.open(url, protocol);
        };
        const ports = [7001, 7003, 7002, 7001];
        const client = await connect(...ports);
        const blocks = ports.map(() => randomBytes(1 << 20));
        for (const [index, block] of blocks.entries()) {
          if (ports[index] === 7003) continue;
          for (let at = 0; at < block.length; at += 32 << 10)
            client.send(2 * index, block.subarray(at, at + (32 << 10)));
        }
        const head = (port: number) => Buffer.of(port & 0xff, port >> 8);
        for (const [index, port] of ports.entries()) {
          const wanted = port === 7003 ? head(port) : Buffer.concat([head(port), blocks[index]!]);
          await until(`what port ${port} echoes`, async () => client.bytes(2 * index).length === wanted.length);
          assert.ok(client.bytes(2 * index).equals(wanted), `channel ${2 * index}`);
          const first = client.frames.find(({ channel }) => channel === 2 * index + 1);
          assert.deepEqual(first?.body, head(port), 'its error channel begins with the port too');
        }
        await until('the refusal', async () => /7003: .*ECONNREFUSED/.test(client.text(3)));
        for (const channel of [1, 5, 7]) assert.equal(client.bytes(channel).length, 2, 'and the others had no error');
        client.socket.close();
        await client.closed;

        const ending = await connect(7004);
        assert.equal(await ending.closed, 1000);
        assert.deepEqual([ending.text(0).slice(2), ending.bytes(1).length], ['bye\n', 2]);
        await pod.remove();
      });
    }

    test('what belongs to no channel is dropped; a wrong close signal ends its connection', async () => {
      const pod = await TestPod.run(bench.daemon, 'odd');
      const id = await pod.sh('c', bench.image.busybox, 'sleep 1000');
      const script = 'read line; echo "[$line]"';
      for (const protocol of ['v4.base64.channel.k8s.io', 'v4.channel.k8s.io'] as const) {
        const client = await exec(bench, id, script, protocol);
        const odd = ['', '0%%%%', '0YQ', '0YQ=a', '9YQ==', '/YQ==', '1YQ==', '\u00ff', '0'];
        const texts = protocol.includes('base64') ? odd : ['', '\u0009x', '\u0001x', '\u0000'];
        for (const text of texts) client.socket.send(text);
        client.socket.send(Buffer.of(255, stdin)); // of v5 alone
        client.socket.send(protocol.includes('base64') ? '0d2\r\n9yZAo=' : Buffer.from('\0word\n'), { binary: false });
        assert.equal(await client.closed, 1000);
        assert.equal(client.text(stdout), '[word]\n', protocol);
      }
      for (const signal of [[255], [255, 5], [255, 0, 0]]) {
        const client = await exec(bench, id, script, 'v5.channel.k8s.io');
        client.socket.send(Buffer.from(signal));
        assert.equal(await client.closed, 1002, `${signal}`);
      }
      const twice = await exec(bench, id, 'cat; exit 3', 'v5.channel.k8s.io');
      twice.send(stdin, 'all');
      for (const channel of [resize, stdin, stdin]) twice.socket.send(Buffer.of(255, channel));
      twice.send(stdin, ' that is too late');
      assert.equal(await twice.closed, 1000);
      assert.deepEqual([twice.text(stdout), parseStatus(twice.text(error)).code], ['all', 3]);
      await pod.remove();
    });

    test('a message of 24 MB, whole or in fragments with pings between, is one piece of the input; a larger one is refused', async () => {
      const pod = await TestPod.run(bench.daemon, 'large');
      const id = await pod.sh('c', bench.image.busybox, 'sleep 1000');
      const large = randomBytes(24_000_000);
      const sum = `${createHash('sha256').update(large).digest('hex')}  -\n`;
      const script = `head -c ${large.length} | sha256sum`;
      for (const protocol of ['v4.channel.k8s.io', 'base64.channel.k8s.io', 'v5.channel.k8s.io'] as const) {
        const whole = await exec(bench, id, script, protocol);
        whole.send(stdin, large);
        assert.equal(await whole.closed, 1000);
        assert.equal(whole.text(stdout), sum, protocol);
      }
      const pieces = await exec(bench, id, script, 'v4.channel.k8s.io');
      const message = Buffer.concat([Buffer.of(stdin), large]);
      for (let at = 0; at < message.length; at += 1_000_000) {
        pieces.socket.send(message.subarray(at, at + 1_000_000), { fin: at + 1_000_000 >= message.length });
        pieces.socket.ping();
      }
      assert.equal(await pieces.closed, 1000);
      assert.equal(pieces.text(stdout), sum);
      const beyond = await exec(bench, id, script, 'v4.channel.k8s.io');
      beyond.send(stdin, Buffer.alloc(32 << 20));
      assert.equal(await beyond.closed, 1009);
      await pod.remove();
    });

    test('input that nobody took does not keep a connection, of a command nor of a port', async () => {
      const pod = await TestPod.run(bench.daemon, 'unread');
      const id = await pod.sh('c', bench.image.busybox, 'exec tcpsvd 127.0.0.1 7001 sleep 1');
      for (const protocol of ['v4.base64.channel.k8s.io', 'v5.channel.k8s.io'] as const) {
        const client = await exec(bench, id, 'sleep 0.3', protocol);
        for (let i = 0; i < 64; i++) client.send(stdin, Buffer.alloc(64 << 10));
        if (protocol === 'v5.channel.k8s.io') client.socket.send(Buffer.of(255, stdin));
        assert.equal(await client.closed, 1000);
        assert.equal(parseStatus(client.text(error)).code, 0);
      }
      const { url } = await bench.daemon.runtime.portForward({ podSandboxId: pod.id, port: [7001] });
      const client = await ChannelClient.open(url, '');
      for (let i = 0; i < 256; i++) client.send(0, Buffer.alloc(64 << 10));
      assert.equal(await client.closed, 1000);
      await pod.remove();
    });

    test('subprotocols that are not known are refused, and ports that do not fit', async () => {
      const pod = await TestPod.run(bench.daemon, 'refused');
      const id = await pod.sh('c', bench.image.busybox, 'sleep 1000');
      const headers = (protocol: string) => ({
        Upgrade: 'websocket',
        'Sec-WebSocket-Version': '13',
        'Sec-WebSocket-Key': randomBytes(16).toString('base64'),
        ...(protocol === '' ? {} : { 'Sec-WebSocket-Protocol': protocol }),
      });
      const command = async () => (await bench.daemon.runtime.exec({ containerId: id, cmd: ['true'], ...all })).url;
      const ports = async (count: number) =>
        (await bench.daemon.runtime.portForward({ podSandboxId: pod.id, port: Array(count).fill(80) })).url;
      const cases: [url: string, protocol: string, status: number, chosen?: string][] = [
        [await command(), 'v9.channel.k8s.io', 403],
        [await command(), 'v5.base64.channel.k8s.io', 403],
        [await command(), 'SPDY/3.1+portforward.k8s.io', 403],
        [await command(), 'constructor, __proto__', 403],
        [await command(), 'v9.channel.k8s.io, base64.channel.k8s.io, v5.channel.k8s.io', 101, 'base64.channel.k8s.io'],
        [await command(), ' , ', 101],
        [await ports(1), 'channel.k8s.io', 403],
        [await ports(1), 'v5.channel.k8s.io', 403],
        [await ports(0), 'v4.channel.k8s.io', 400],
        [await ports(0), '', 400],
        [await ports(41), 'v4.base64.channel.k8s.io', 400],
        [await ports(129), 'v4.channel.k8s.io', 400],
        [await ports(129), '', 400],
        [await ports(40), 'v4.base64.channel.k8s.io', 101, 'v4.base64.channel.k8s.io'],
        [await ports(128), '', 101],
        [await ports(0), 'SPDY/3.1+portforward.k8s.io', 101, 'SPDY/3.1+portforward.k8s.io'],
      ];
      for (const [url, protocol, status, chosen] of cases) {
        const answer = await upgrade(url, headers(protocol), 'GET');
        answer.socket.destroy();
        assert.equal(answer.status, status, protocol);
        const header = /^sec-websocket-protocol: (.*)$/im.exec(answer.head)?.[1]?.trim();
        assert.equal(header, chosen, protocol);
      }
      await pod.remove();
    });
  });
}
