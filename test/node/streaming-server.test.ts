// What a stranger, a broken client or a bad request can do to the streaming server: end its own connection.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { buffer, text } from 'node:stream/consumers';
import { test } from 'node:test';
import { status as grpc } from '@grpc/grpc-js';
import { ownHost } from '../harness/own-host.ts';
import { hostNetwork, refused, TestPod, until } from '../harness/pods.ts';
import { type Bench, suite } from '../harness/suite.ts';
import { finish, openCommand, SpdyClient, upgrade } from '../streaming/spdy-client.ts';

await ownHost();

const spdy = { Upgrade: 'SPDY/3.1', 'X-Stream-Protocol-Version': 'v4.channel.k8s.io' };
const rssOf = (pid: number): number => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]);
const descriptorsOf = (pid: number): number => readdirSync(`/proc/${pid}/fd`).length;

async function running(bench: Bench, name: string) {
  const pod = await TestPod.run(bench.daemon, name);
  const containerId = await pod.sh('c', bench.image.busybox, 'sleep 1000');
  const url = async (script = 'echo fine') =>
    (await bench.daemon.runtime.exec({ containerId, cmd: ['/bin/sh', '-c', script], stdout: true })).url;
  return { pod, containerId, url };
}

suite('the streaming server', {}, (bench) => {
  test('a URL is good once, for what it was given for, and cannot be guessed', async () => {
    const { pod, url } = await running(bench, 'tokens');
    const first = await url();
    const { hostname, pathname } = new URL(first);
    assert.equal(hostname, '127.0.0.1');
    const token = Buffer.from(pathname.split('/').at(-1)!, 'base64url');
    assert.equal(token.length, 16);
    const { stdout, status } = await finish(await openCommand(first, ['stdout']));
    assert.deepEqual([`${stdout}`, status.code], ['fine\n', 0]);
    const wrong = [
      first,
      first.replace(/[^/]+$/, randomBytes(16).toString('base64url')),
      (await url()).replace('/exec/', '/attach/'),
      new URL('/', first).href,
      new URL(`/exec/${'x'.repeat(8000)}`, first).href,
    ];
    for (const address of wrong) {
      const { socket, status: code } = await upgrade(address, spdy);
      assert.equal(code, 404, address.slice(0, 100));
      socket.destroy();
    }
    const plain = await fetch(await url(), { method: 'POST' });
    assert.equal(plain.status, 404);
    await plain.text();
    await pod.remove();
  });

  test('protocols that are not known are refused, and those that are, named', async () => {
    const { pod, url } = await running(bench, 'protocols');
    const cases = [
      { headers: { Upgrade: 'h2c' }, status: 400 },
      { headers: { Upgrade: 'SPDY/3.1' }, status: 403 },
      { headers: { ...spdy, 'X-Stream-Protocol-Version': 'v9.channel.k8s.io' }, status: 403 },
      { headers: { Upgrade: 'websocket', 'Sec-WebSocket-Protocol': 'v9.channel.k8s.io' }, status: 403 },
      { headers: { Upgrade: 'websocket', 'Sec-WebSocket-Protocol': 'v5.channel.k8s.io' }, status: 405 }, // by POST
      { headers: { ...spdy, 'X-Stream-Protocol-Version': 'v9.channel.k8s.io, v4.channel.k8s.io' }, status: 101 },
    ];
    for (const { headers, status } of cases) {
      const answer = await upgrade(await url(), headers as Record<string, string>);
      assert.equal(answer.status, status, JSON.stringify(headers));
      if (status === 403 && headers.Upgrade !== 'websocket')
        assert.match(answer.head, /X-Accepted-Stream-Protocol-Versions: v4\.channel\.k8s\.io/);
      answer.socket.destroy();
    }
    for (const protocol of ['channel.k8s.io', 'v2.channel.k8s.io', 'v3.channel.k8s.io']) {
      const client = await SpdyClient.connect(await url('echo old; exit 9'), protocol);
      const streams = ['error', 'stdout'].map((streamType) => client.open({ streamType }));
      const [error, stdout] = await Promise.all(streams.map(({ incoming }) => text(incoming)));
      assert.equal(stdout, 'old\n');
      assert.match(error!, /exit status 9$/);
      client.close();
    }
    await pod.remove();
  });

  test('garbage ends its own connection and nothing else', async () => {
    const { pod, url } = await running(bench, 'garbage');
    const neighbour = await openCommand(await url('cat /dev/zero | head -c 100000000'), ['stdout']);
    neighbour.client.socket.pause();
    await url(); // warm
    const before = descriptorsOf(bench.daemon.pid);
    const syn = (id: number, block: Buffer) => {
      const head = Buffer.from([0x80, 3, 0, 1, 0, 0, 0, 10 + block.length, 0, 0, 0, id, 0, 0, 0, 0, 0, 0]);
      return Buffer.concat([head, block]);
    };
    const pieces = [
      Buffer.concat([Buffer.from([0x80, 0x63]), randomBytes(100_000)]),
      Buffer.alloc(100_000, 0xff),
      Buffer.from([0x80, 2, 0, 1, 0, 0, 0, 0]), // SPDY/2
      Buffer.from([0x80, 3, 0, 1, 0, 0xff, 0xff, 0xff]), // a control frame of 16 MiB
      Buffer.from([0x80, 3, 0, 1, 0, 0, 0, 2, 0, 0]), // SYN_STREAM of 2 bytes
      syn(1, Buffer.from('no zlib')),
      syn(2, Buffer.from([0x78, 0x01, 0, 0])), // an even id
      syn(1, Buffer.from([0x78, 0x20, 1, 2, 3, 4, 0])), // another dictionary
      syn(1, Buffer.concat([Buffer.from([0x78, 0x01, 0, 4, 0, 0xfb, 0xff]), Buffer.from([0xff, 0xff, 0xff, 0xff])])), // 2^32 headers
    ];
    for (const [index, piece] of pieces.entries()) {
      const { socket, status } = await upgrade(await url(), spdy);
      assert.equal(status, 101);
      socket.resume();
      socket.write(piece);
      await new Promise((resolve) => socket.once('close', resolve)); // by a reset, where it had sent more
      assert.ok(bench.daemon.pid > 0, `the daemon after piece ${index}`);
    }
    neighbour.client.socket.resume();
    const { stdout, status } = await finish(neighbour);
    assert.deepEqual([stdout.length, status.code], [100_000_000, 0]);
    await until('the descriptors', async () => descriptorsOf(bench.daemon.pid) <= before);
    await pod.remove();
  });

  test('floods cost bounded memory: pings without a reader, streams, data that nobody takes', async () => {
    const { pod, containerId, url } = await running(bench, 'floods');
    await finish(await openCommand(await url(), ['stdout']));
    const before = rssOf(bench.daemon.pid);
    const pings = await SpdyClient.connect(await url());
    pings.socket.pause();
    const ping = Buffer.concat(
      Array.from({ length: 4096 }, () => Buffer.from([0x80, 3, 0, 6, 0, 0, 0, 4, 0, 0, 0, 1])),
    );
    const write = () => new Promise<boolean>((resolve) => pings.socket.write(ping, (error) => resolve(!error)));
    let written = 0;
    while (written < 400 && (await write())) written++;
    assert.ok(written < 400, '20 MB of answers wait for who reads none');
    pings.socket.destroy();
    const streams = await SpdyClient.connect(await url());
    for (let i = 0; i < 6000; i++) streams.open({ streamType: 'unknown' });
    streams.ping(77);
    await until('the answer to a ping', async () => streams.pings.includes(77));
    assert.equal(streams.resets.length, 6000);
    streams.close();
    const cmd = ['/bin/sleep', '1000']; // it never reads
    const { url: deaf } = await bench.daemon.runtime.exec({ containerId, cmd, stdin: true, stdout: true });
    const client = await openCommand(deaf, ['stdin', 'stdout']);
    const block = Buffer.alloc(1 << 20);
    let sent = 0;
    for (let full = false; !full && sent < 200; sent++) {
      full = await Promise.race([client.stdin.write(block).then(() => false), standstill(client.client)]);
    }
    assert.ok(sent < 40, `${sent} MiB were taken by nobody`);
    client.client.close();
    // On a busy machine the collector comes late; what nobody bounds would be more.
    const grown = rssOf(bench.daemon.pid) - before;
    assert.ok(grown < 150 * 1024, `the daemon grew by ${grown} KiB`);
    await pod.remove();
  });

  test('input that a command left unread does not keep its connection', async () => {
    const { pod, containerId } = await running(bench, 'unread');
    const { runtime } = bench.daemon;
    const onceMore = async () => {
      const { url } = await runtime.exec({ containerId, cmd: ['/bin/true'], stdin: true, stdout: true });
      const client = await openCommand(url, ['stdin', 'stdout']);
      void client.stdin.write(Buffer.alloc(8 << 20));
      assert.equal((await finish(client)).status.code, 0);
    };
    await onceMore();
    const before = descriptorsOf(bench.daemon.pid);
    for (let i = 0; i < 10; i++) await onceMore();
    await until('the descriptors', async () => descriptorsOf(bench.daemon.pid) <= before);
    await pod.remove();
  });

  test('a client that leaves while its input waits is noticed', async () => {
    const { pod, containerId } = await running(bench, 'silent');
    const { runtime } = bench.daemon;
    const { url } = await runtime.exec({ containerId, cmd: ['/bin/sleep', '1000'], stdin: true, stdout: true });
    const client = await openCommand(url, ['stdin', 'stdout']);
    await client.stdin.write(Buffer.alloc(2 << 20));
    await standstill(client.client);
    assert.equal(connectionsTo(url), 1);
    client.client.close();
    await until('the end of the connection', async () => connectionsTo(url) === 0, 60_000);
    await pod.remove();
  });

  test('requests are checked', async () => {
    const { pod, containerId } = await running(bench, 'requests');
    const { runtime } = bench.daemon;
    const unknown = 'f'.repeat(64);
    const cmd = ['/bin/true'];
    const invalid = grpc.INVALID_ARGUMENT;
    await refused(runtime.exec({ containerId: unknown, cmd, stdout: true }), grpc.NOT_FOUND, /f{64}/);
    await refused(runtime.exec({ containerId, cmd, stdout: true, stderr: true, tty: true }), invalid, /tty and stderr/);
    await refused(runtime.exec({ containerId, cmd }), invalid, /None of/);
    await refused(runtime.exec({ containerId, cmd: [], stdout: true }), invalid, /cmd is empty/);
    await refused(runtime.exec({ containerId, cmd: [''], stdout: true }), invalid, /cmd is empty/);
    await refused(runtime.attach({ containerId: unknown, stdout: true }), grpc.NOT_FOUND);
    await refused(runtime.attach({ containerId, stdout: true, stderr: true, tty: true }), invalid);
    await refused(runtime.attach({ containerId }), invalid, /None of/);
    await refused(runtime.portForward({ podSandboxId: unknown, port: [80] }), grpc.NOT_FOUND);
    for (const port of [0, -1, 65_536])
      await refused(runtime.portForward({ podSandboxId: pod.id, port: [port] }), invalid, /1 to 65535/);
    await runtime.stopContainer({ containerId, timeout: 0n });
    await refused(runtime.exec({ containerId, cmd, stdout: true }), grpc.FAILED_PRECONDITION, /not running/);
    await refused(runtime.attach({ containerId, stdout: true }), grpc.FAILED_PRECONDITION, /not running/);
    await runtime.stopPodSandbox({ podSandboxId: pod.id });
    await refused(runtime.portForward({ podSandboxId: pod.id, port: [80] }), grpc.FAILED_PRECONDITION, /not ready/);
    await pod.remove();
  });

  test('a URL whose container has stopped meanwhile says so', async () => {
    const { pod, containerId, url } = await running(bench, 'stopped');
    const late = await url();
    await bench.daemon.runtime.stopContainer({ containerId, timeout: 0n });
    const { status } = await finish(await openCommand(late, ['stdout']));
    assert.equal(status.status, 'Failure');
    assert.match(status.message!, /exited, not running/);
    await pod.remove();
  });

  test('a container that stops ends its execs and attaches', async () => {
    const pod = await TestPod.run(bench.daemon, 'ends');
    const containerId = await pod.sh('c', bench.image.busybox, 'while sleep 0.1; do echo tick; done');
    const { runtime } = bench.daemon;
    const { url: execUrl } = await runtime.exec({ containerId, cmd: ['/bin/cat'], stdin: true, stdout: true });
    const exec = await openCommand(execUrl, ['stdin', 'stdout']);
    await exec.stdin.write('up');
    const attach = await openCommand((await runtime.attach({ containerId, stdout: true })).url, ['stdout']);
    for (const { incoming } of [exec.stdout, attach.stdout]) await once(incoming, 'readable');
    await runtime.stopContainer({ containerId, timeout: 0n });
    assert.equal((await finish(exec)).status.code, 137);
    assert.equal((await finish(attach)).status.code, 0);
    await pod.remove();
  });

  test('port-forward into the host: IPv4 first, IPv6 where nobody listens there, only the ports that were named', async () => {
    const pod = await TestPod.run(bench.daemon, 'hostports', hostNetwork);
    const servers = await Promise.all(
      ['127.0.0.1', '::1'].map(async (host) => {
        const server = createServer({ allowHalfOpen: true }, (socket) => socket.pipe(socket));
        server.listen(0, host);
        await once(server, 'listening');
        return server;
      }),
    );
    const ports = servers.map((server) => (server.address() as { port: number }).port);
    const { url } = await bench.daemon.runtime.portForward({ podSandboxId: pod.id, port: ports });
    const client = await SpdyClient.connect(url, 'portforward.k8s.io');
    const open = (port: number, requestID: string) => ({
      error: client.open({ streamType: 'error', port: String(port), requestID }),
      data: client.open({ streamType: 'data', port: String(port), requestID }),
    });
    for (const port of ports) {
      const { data, error } = open(port, String(port));
      await data.write('through');
      data.end();
      assert.deepEqual([`${await buffer(data.incoming)}`, await text(error.incoming)], ['through', '']);
    }
    for (const port of ports) {
      const old = open(port, ''); // of a client that names no request
      await old.data.write('by its number');
      old.data.end();
      assert.deepEqual([`${await buffer(old.data.incoming)}`, await text(old.error.incoming)], ['by its number', '']);
    }
    const other = open(1, 'other');
    client.ping(5);
    await until('the answer to a ping', async () => client.pings.includes(5));
    assert.deepEqual(client.resets, [other.error.id, other.data.id]);
    const reset = open(ports[0]!, 'reset');
    await reset.data.write('x');
    reset.data.reset();
    await until('the end of the connection', async () => {
      const [count] = await new Promise<[number]>((resolve) => servers[0]!.getConnections((_, n) => resolve([n])));
      return count === 0;
    });
    client.close();
    for (const server of servers) server.close();
    await pod.remove();
  });

  test('a client has 1024 connections forwarded, and is told where they end', async () => {
    const pod = await TestPod.run(bench.daemon, 'many', hostNetwork);
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const port = String((server.address() as { port: number }).port);
    const { url } = await bench.daemon.runtime.portForward({ podSandboxId: pod.id, port: [Number(port)] });
    const client = await SpdyClient.connect(url, 'portforward.k8s.io');
    const errors = Array.from({ length: 1026 }, (_, nth) => {
      const { incoming } = client.open({ streamType: 'error', port, requestID: String(nth) });
      client.open({ streamType: 'data', port, requestID: String(nth) });
      return incoming;
    });
    for (const incoming of errors.slice(1024))
      assert.match(await text(incoming), /Cannot forward port \d+: this client has 1024 connections: end some of them/);
    client.close();
    server.close();
    await pod.remove();
  });
});

/** How many sockets the server has with a client, gone or not (proc_net(5): ESTABLISHED and CLOSE_WAIT). */
function connectionsTo(url: string): number {
  const port = Number(new URL(url).port).toString(16).toUpperCase().padStart(4, '0');
  const server = new RegExp(`^ *\\d+: [0-9A-F]+:${port} [0-9A-F]+:[0-9A-F]+ (01|08) `);
  return readFileSync('/proc/net/tcp', 'utf8')
    .split('\n')
    .filter((line) => server.test(line)).length;
}

/** Resolves with true when the socket has taken nothing for a while. */
async function standstill({ socket }: SpdyClient): Promise<boolean> {
  for (let last = -1; last !== socket.writableLength; ) {
    last = socket.writableLength;
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
  return true;
}
