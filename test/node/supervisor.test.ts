// What a supervisor hears of the daemon, as of sd_notify(3).
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, test } from 'node:test';
import { TestDaemon } from '../harness/daemon.ts';
import { ownHost } from '../harness/own-host.ts';
import { until } from '../harness/pods.ts';

await ownHost();

const folder = mkdtempSync(join(tmpdir(), 'berth-supervisor-'));
after(() => rmSync(folder, { recursive: true }));

/** Node has no datagrams on unix sockets. Each one that comes is a line of JSON. One that is busy reads when it has a line itself. */
const listener = `
import json, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1].replace('@', '\\0', 1))
if sys.argv[2:] == ['busy']:
    other = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    other.setblocking(False)
    try:
        while True: other.sendto(b'x', s.getsockname())
    except BlockingIOError: pass
print(json.dumps('listening'), flush=True)
if sys.argv[2:] == ['busy']: sys.stdin.readline()
while True: print(json.dumps(s.recv(4096).decode()), flush=True)
`;

class Supervisor implements AsyncDisposable {
  readonly heard: string[] = [];
  readonly socket: string;
  readonly #child: ChildProcess;

  constructor(socket: string, ...how: 'busy'[]) {
    this.socket = socket;
    this.#child = spawn('/usr/bin/python3', ['-c', listener, socket, ...how], { stdio: ['pipe', 'pipe', 'inherit'] });
    createInterface({ input: this.#child.stdout! }).on('line', (line) => this.heard.push(JSON.parse(line)));
  }

  /** One that was busy has time. */
  reads(): void {
    this.#child.stdin!.write('\n');
  }

  async hears(text: string, times = 1): Promise<void> {
    const count = () => this.heard.filter((line) => line.startsWith(text)).length;
    await until(`it hears ${text}`, async () => count() >= times);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill();
    await once(this.#child, 'close');
  }
}

for (const socket of [join(folder, 'notify'), '@berth-test-notify']) {
  test(`${socket[0] === '@' ? 'an abstract socket' : 'a socket'}: it serves, its loop goes round, it ends`, async () => {
    await using supervisor = new Supervisor(socket);
    await supervisor.hears('listening');
    const daemon = new TestDaemon({ network: false, env: { NOTIFY_SOCKET: socket, WATCHDOG_USEC: '100000' } });
    await daemon.start();
    try {
      await supervisor.hears('READY=1\nSTATUS=Serving; 0 pods');
      await supervisor.hears('WATCHDOG=1', 3);
      assert.ok(!supervisor.heard.includes('STOPPING=1'));
      await daemon.admin.reload({});
      await supervisor.hears('RELOADING=1\nMONOTONIC_USEC=');
      await supervisor.hears('READY=1', 2);
    } finally {
      await daemon.dispose();
    }
    await supervisor.hears('STOPPING=1');
    assert.equal(supervisor.heard.filter((line) => line.startsWith('READY=1')).length, 2);
  });
}

test('the watchdog of another process is not fed', async () => {
  await using supervisor = new Supervisor(join(folder, 'still'));
  await supervisor.hears('listening');
  const env = { NOTIFY_SOCKET: supervisor.socket, WATCHDOG_USEC: '100000', WATCHDOG_PID: '1' };
  const daemon = new TestDaemon({ network: false, env });
  await daemon.start();
  try {
    await supervisor.hears('READY=1');
    for (let call = 0; call < 50; call++) await daemon.runtime.version({});
    assert.ok(!supervisor.heard.includes('WATCHDOG=1'));
  } finally {
    await daemon.dispose();
  }
});

test('a supervisor that is busy hears in the end what it must, and in its order', async () => {
  await using supervisor = new Supervisor(join(folder, 'busy'), 'busy');
  await supervisor.hears('listening');
  const env = { NOTIFY_SOCKET: supervisor.socket, WATCHDOG_USEC: '100000' };
  const daemon = new TestDaemon({ network: false, env });
  await daemon.start();
  try {
    await daemon.admin.reload({});
    supervisor.reads();
    await supervisor.hears('READY=1', 2);
    const told = supervisor.heard
      .filter((line) => /^(READY|RELOADING)=1/.test(line))
      .map((line) => line.split('\n')[0]);
    assert.deepEqual(told, ['READY=1', 'RELOADING=1', 'READY=1']);
    await supervisor.hears('WATCHDOG=1');
  } finally {
    await daemon.dispose();
  }
});

test('a supervisor that is gone is no reason to fail', async () => {
  const daemon = new TestDaemon({
    network: false,
    env: { NOTIFY_SOCKET: join(folder, 'nobody'), WATCHDOG_USEC: '100000' },
  });
  await daemon.start();
  try {
    assert.equal((await daemon.runtime.version({})).runtimeName, 'berth');
    assert.ok(daemon.logged.some(({ msg }) => msg === 'The supervisor could not be told'));
  } finally {
    await daemon.dispose();
  }
});
