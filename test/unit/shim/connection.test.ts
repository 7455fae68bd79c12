// The daemon's side of the protocol, with a shim that says what a test has it say.
import assert from 'node:assert/strict';
import { EventEmitter, once } from 'node:events';
import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, beforeEach, describe, test } from 'node:test';
import { failureKinds, type Message, type MessageName } from '../../../proto/shim.ts';
import { type Decoded, decode, encode, FrameReader } from '../../../src/shim/codec.ts';
import { Connection } from '../../../src/shim/connection.ts';
import { connectShim, type Shim } from '../../../src/shim/index.ts';

const folder = mkdtempSync(join(tmpdir(), 'berth-connection-'));
after(() => rmSync(folder, { recursive: true }));
let serial = 0;

type Answer = <Name extends MessageName>(name: Name, fields: Message<Name>, request?: number) => void;
type Handle = (message: Decoded, answer: Answer, socket: Socket) => void;

/** Listens in a pod's folder; says who it is, and leaves all else to `handle`. */
class Listener {
  readonly podDir = join(folder, `${serial++}`);
  readonly heard: Decoded[] = [];
  readonly sockets: Socket[] = [];
  readonly #server: Server;
  handle: Handle = () => {};

  constructor() {
    mkdirSync(this.podDir);
    this.#server = createServer((socket) => this.#serve(socket)).listen(join(this.podDir, 'shim.sock'));
    this.#server.unref();
  }

  get said(): string[] {
    return this.heard.map(({ name }) => name).filter((name) => name !== 'hello');
  }

  #serve(socket: Socket): void {
    const frames = new FrameReader();
    this.sockets.push(socket);
    socket.on('error', () => {});
    socket.on('data', (chunk: Buffer) => {
      for (const frame of frames.push(chunk)) {
        const message = decode(frame)!;
        this.heard.push(message);
        const answer: Answer = (name, fields, request = message.request) =>
          void socket.write(encode(name, request, fields));
        if (message.name === 'hello') answer('welcome', welcome);
        else this.handle(message, answer, socket);
      }
    });
  }

  end(): void {
    this.#server.close();
    for (const socket of this.sockets) socket.destroy();
  }
}

const welcome = { version: 1, shimPid: 4711, pausePid: 0, findsLogs: true };
const ending = { pid: 7, code: 137, signal: 9, oomKilled: true, atSeconds: 5, atNanos: 500_000_000 };
const losing = { lostBytes: 50, lostLines: 1, lostError: constants.errno.ENOSPC };
const result: Message<'result'> = {
  pid: 0,
  started: false,
  code: 3,
  signal: 0,
  timedOut: false,
  stdoutTruncated: false,
  stderrTruncated: false,
  stdout: Buffer.from('out'),
  stderr: Buffer.from('err'),
  begunUs: 0,
  endedUs: 0,
};
const command = { argv: ['/bin/x'], env: [], cwd: '/', deadlineMs: 1000 };
const execution = { ...command, pidFile: '/pid', startDeadlineMs: 1000, drainMs: 0, maxOutput: 10 };

let listener: Listener;
let told: unknown[] = [];
const handlers = {
  onExit: (exit: unknown) => told.push(['exit', exit]),
  onPauseExit: (pid: number) => told.push(['pause', pid]),
  onLogLost: (key: string, loss: unknown) => told.push(['lost', key, loss]),
  onLost: () => told.push(['gone']),
};
beforeEach(() => {
  listener = new Listener();
  told = [];
});
afterEach(() => listener.end());
const connected = async (handle: Handle = () => {}): Promise<Shim> => {
  listener.handle = handle;
  return (await connectShim(listener.podDir, handlers))!;
};
const until = async (what: () => boolean) => {
  while (!what()) await new Promise(setImmediate);
};

describe('a shim that is connected to', () => {
  test('says who it is', async () => {
    const shim = await connected();
    assert.deepEqual([shim.pid, shim.findsLogs], [4711, true]);
    shim.close();
  });

  const nobody: Record<string, (podDir: string) => void> = {
    'no folder': (podDir) => rmSync(podDir, { recursive: true }),
    'no socket': (podDir) => rmSync(join(podDir, 'shim.sock')),
    'a file in place of the folder': (podDir) => {
      rmSync(podDir, { recursive: true });
      writeFileSync(podDir, '');
    },
    'a socket that nobody listens on': (podDir) => {
      renameSync(join(podDir, 'shim.sock'), join(podDir, 'kept'));
      listener.end();
      renameSync(join(podDir, 'kept'), join(podDir, 'shim.sock'));
    },
  };
  for (const [name, spoil] of Object.entries(nobody)) {
    test(`${name}: there is none`, async () => {
      spoil(listener.podDir);
      assert.equal(await connectShim(listener.podDir, handlers), null);
    });
  }

  test('and refuses to talk is an error, and its connection is closed', { timeout: 10_000 }, async () => {
    const server = createServer((socket) => {
      socket.on('data', () => socket.write(encode('failed', 1, { kind: failureKinds.busy, error: 16, step: 'talk' })));
      socket.on('close', () => server.close());
    }).listen(join(listener.podDir, 'other'));
    await once(server, 'listening');
    const closed = once(server, 'close');
    renameSync(join(listener.podDir, 'other'), join(listener.podDir, 'shim.sock'));
    await assert.rejects(connectShim(listener.podDir, handlers), { kind: 'FailedPrecondition' });
    await closed;
    assert.deepEqual(told, []);
  });
});

describe('requests', () => {
  test('at once get their own answers, in whichever order they come', async () => {
    const answers: (() => void)[] = [];
    const shim = await connected((message, answer) => {
      if (message.name === 'signal') answers.push(() => answer('signalled', { delivered: message.fields.key === 'b' }));
      else
        answers.push(() => {
          answer('entry', { key: 'c1', ended: true, ...ending, ...losing });
          answer('listed', { pausePid: 9 });
        });
    });
    const all = Promise.all([shim.signal('a', 15), shim.list(), shim.signal('b', 15)]);
    await until(() => answers.length === 3);
    for (const answer of answers.reverse()) answer();
    const exit = { key: 'c1', pid: 7, code: 137, signal: 9, oomKilled: true, at: 5500 };
    const lost = { bytes: 50, lines: 1, error: 'ENOSPC' };
    assert.deepEqual(await all, [false, { pausePid: 9, processes: [{ key: 'c1', pid: 7, exit, lost }] }, true]);
    shim.close();
  });

  test("events come in between, and are nobody's answer", async () => {
    const shim = await connected((_, answer) => {
      answer('exit', { key: 'c1', ...ending }, 0);
      answer('pauseExit', { pid: 9 }, 0);
      answer('logLost', { key: 'c1', ...losing }, 0);
      answer('done', {});
    });
    await shim.forget('c1');
    const exit = { key: 'c1', pid: 7, code: 137, signal: 9, oomKilled: true, at: 5500 };
    assert.deepEqual(told, [
      ['exit', exit],
      ['pause', 9],
      ['lost', 'c1', { bytes: 50, lines: 1, error: 'ENOSPC' }],
    ]);
    shim.close();
  });

  const { errno } = constants;
  const failures = [
    [failureKinds.invalid, errno.EINVAL, 'InvalidArgument'],
    [failureKinds.notFound, errno.ENOENT, 'NotFound'],
    [failureKinds.exists, errno.EEXIST, 'AlreadyExists'],
    [failureKinds.notRunning, errno.ESRCH, 'FailedPrecondition'],
    [failureKinds.busy, errno.EBUSY, 'FailedPrecondition'],
    [failureKinds.unsupported, errno.ENOSYS, 'Unimplemented'],
    [failureKinds.untrue, errno.ENOSPC, 'Internal'],
    [failureKinds.system, errno.ENOENT, 'FailedPrecondition'],
    [failureKinds.system, errno.EACCES, 'PermissionDenied'],
    [failureKinds.system, errno.ENOSPC, 'ResourceExhausted'],
    [failureKinds.system, errno.EMFILE, 'ResourceExhausted'],
    [failureKinds.system, errno.ETIMEDOUT, 'DeadlineExceeded'],
    [failureKinds.system, errno.ELOOP, 'Internal'],
    [99, errno.EPIPE, 'Internal'],
  ] as const;
  for (const [kind, error, expected] of failures) {
    const [name = ''] = Object.entries(errno).find(([, value]) => value === error)!;
    test(`refused with kind ${kind} and ${name}: ${expected}`, async () => {
      const shim = await connected((_, answer) => answer('failed', { kind, error, step: 'forget c1' }));
      await assert.rejects(shim.forget('c1'), (fault: Error & { kind: string }) => {
        assert.deepEqual([fault.kind, fault.message], [expected, `The shim cannot forget c1: ${name}`]);
        assert.equal((fault.cause as { code: string }).code, name);
        return true;
      });
      shim.close();
    });
  }

  test('answered with something else are not answered', async () => {
    const shim = await connected((_, answer) => answer('done', {}));
    await assert.rejects(shim.list(), { kind: 'DataLoss', message: /answered list with done/ });
    shim.close();
  });

  test("that are not answered have an end, which names them; an answer that is late is nobody's", async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] });
    const late: (() => void)[] = [];
    const shim = await connected((message, answer) => {
      if (message.name === 'forget') late.push(() => answer('done', {}));
      else answer('listed', { pausePid: 9 });
    });
    const forgotten = assert.rejects(shim.forget('c1'), {
      kind: 'DeadlineExceeded',
      message: /forgetting of c1 did not finish within 10 s/,
    });
    await until(() => late.length === 1);
    t.mock.timers.tick(10_000);
    await forgotten;
    late[0]!();
    assert.equal((await shim.list()).pausePid, 9);
    shim.close();
  });

  test('a command that is started has the time of its log, of itself, and to be told', async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] });
    const shim = await connected();
    const log = { logPath: '/l', logFolder: '', logName: '', logDeadlineMs: 20_000 };
    let over = false;
    const started = shim
      .start({ ...command, key: 'c1', pidFile: '/p', stdin: false, tty: false, ...log, oomFile: '', exitFile: '' })
      .catch(() => {
        over = true;
      });
    await until(() => listener.said.length === 1);
    t.mock.timers.tick(26_000);
    await new Promise(setImmediate);
    assert.equal(over, false);
    t.mock.timers.tick(10_000);
    await started;
    shim.close();
  });
});

describe('a command', () => {
  test('has what it wrote, and whether that is all of it', async () => {
    for (const [stdoutTruncated, stderrTruncated, truncated] of [
      [false, false, false],
      [true, false, true],
      [false, true, true],
    ] as const) {
      const shim = await connected((_, answer) => answer('result', { ...result, stdoutTruncated, stderrTruncated }));
      const { code, stdout, stderr, ...rest } = await shim.run(command);
      assert.deepEqual([code, `${stdout}`, `${stderr}`, rest.truncated], [3, 'out', 'err', truncated]);
      shim.close();
    }
  });

  test('that nobody wants any more is called off by its number; its result is not told', {
    timeout: 10_000,
  }, async () => {
    const caller = new AbortController();
    let running = 0;
    const shim = await connected((message, answer) => {
      if (message.name === 'run') running = message.request;
      else if (message.name === 'cancel') {
        answer('done', {});
        answer('result', { ...result, code: 137 }, message.fields.request);
      }
    });
    const ran = shim.run(command, caller.signal);
    await until(() => running > 0);
    caller.abort(new Error('client left'));
    await assert.rejects(ran, /client left/);
    const cancel = listener.heard.at(-1)!;
    assert.deepEqual([cancel.name, cancel.name === 'cancel' && cancel.fields.request], ['cancel', running]);
    shim.close();
  });

  test('that nobody wanted is not sent', async () => {
    const shim = await connected();
    const left = AbortSignal.abort(new Error('client left'));
    await assert.rejects(shim.exec({ ...execution, deadlineMs: 0 }, left), /client left/);
    assert.deepEqual(listener.said, []);
    shim.close();
  });

  test('has a deadline, which 0 is none: but for what runs in a container, which may go on', async (t) => {
    const shim = await connected((_, answer) => answer('result', result));
    for (const deadlineMs of [0, -1, Number.NaN, 2 ** 31]) {
      await assert.rejects(shim.run({ ...command, deadlineMs }), { kind: 'InvalidArgument' }, `${deadlineMs}`);
    }
    await assert.rejects(shim.exec({ ...execution, startDeadlineMs: 0 }), { kind: 'InvalidArgument' });
    await shim.run({ ...command, deadlineMs: 1 });
    t.mock.timers.enable({ apis: ['setTimeout'] });
    listener.handle = (_, answer) => setImmediate(() => answer('result', result));
    const endless = shim.exec({ ...execution, deadlineMs: 0 });
    await until(() => listener.said.length === 2);
    t.mock.timers.tick(2 ** 31 - 1);
    assert.equal((await endless).code, 3);
    shim.close();
  });
});

describe('a connection that ends', () => {
  test('rejects what is in flight and what comes after, and is told once', async () => {
    const shim = await connected((_, __, socket) => socket.destroy());
    await Promise.all(
      [shim.list(), shim.forget('c1')].map((each) =>
        assert.rejects(each, { kind: 'Unavailable', message: /shim was lost during/ }),
      ),
    );
    await assert.rejects(shim.list(), { kind: 'Unavailable' });
    assert.deepEqual([told, listener.said.length <= 2], [[['gone']], true]);
  });

  test('by what is no frame', async () => {
    const shim = await connected((_, __, socket) => socket.write(Buffer.alloc(16, 0xff)));
    await assert.rejects(shim.list(), { kind: 'Unavailable', message: /malformed/ });
    assert.deepEqual(told, [['gone']]);
  });

  test('by our own hand is not told', async () => {
    const shim = await connected();
    const listing = assert.rejects(shim.list(), { kind: 'Unavailable' });
    await until(() => listener.said.length === 1);
    shim.close();
    await listing;
    assert.deepEqual(told, []);
  });

  test('after a shutdown that was refused is told again', async () => {
    const shim = await connected((message, answer, socket) => {
      if (message.name === 'shutdown') answer('failed', { kind: failureKinds.busy, error: 16, step: 'shut down' });
      else socket.destroy();
    });
    await assert.rejects(shim.shutdown(), { kind: 'FailedPrecondition' });
    await assert.rejects(shim.list(), { kind: 'Unavailable' });
    assert.deepEqual(told, [['gone']]);
  });

  test('by a shutdown is not', async () => {
    const shim = await connected((_, answer, socket) => {
      answer('done', {});
      socket.end();
    });
    await shim.shutdown({ force: true });
    assert.deepEqual(told, []);
  });
});

test('a connection keeps the daemon alive while an answer is awaited, and no longer', async () => {
  let refs = 0;
  const socket = Object.assign(new EventEmitter(), {
    ref: () => refs++,
    unref: () => {
      refs = 0;
    },
    write: () => true,
    destroy: () => {},
  });
  const connection = new Connection(socket as unknown as Socket, { onMessage: () => {}, onEnd: () => {} });
  const list = () => connection.request('list', {}, 'listed', { step: 'list', deadlineMs: 1000 });
  const both = [list(), list()];
  assert.equal(refs, 2);
  socket.emit('data', encode('listed', 1, { pausePid: 0 }));
  await both[0];
  assert.equal(refs, 2, 'one is awaited still');
  socket.emit('data', encode('listed', 2, { pausePid: 0 }));
  await both[1];
  assert.equal(refs, 0);
});

describe('a call that hands descriptors over, on a connection of its own', () => {
  const none = { input: false, stdout: false, stderr: false };
  const spec = {
    ...command,
    pidFile: '/p',
    startDeadlineMs: 1000,
    tty: false,
    stdin: false,
    stdout: false,
    stderr: false,
  };
  const allClosed = () => listener.sockets.slice(1).every((socket) => socket.destroyed);

  test('has its answer, whatever comes in between, and its end later', { timeout: 10_000 }, async () => {
    const shim = await connected((_, answer) => {
      answer('exit', { key: 'c1', ...ending }, 0);
      answer('opened', none);
      answer('pauseExit', { pid: 9 }, 0);
      answer('result', { ...result, started: true });
    });
    const { stdio, ended } = await shim.openExec(spec);
    assert.deepEqual([stdio, (await ended).code], [{ input: null, stdout: null, stderr: null }, 3]);
    await until(allClosed);
    shim.close();
  });

  test('of an OCI runtime that failed has what that said', { timeout: 10_000 }, async () => {
    const shim = await connected((_, answer) => answer('result', result));
    const { stdio, ended } = await shim.openExec(spec);
    assert.deepEqual([stdio, `${(await ended).stderr}`], [null, 'err']);
    await until(allClosed);
    shim.close();
  });

  const failed: Record<string, { handle: Handle; kind: string }> = {
    'is refused': {
      handle: (_, answer) => answer('failed', { kind: failureKinds.notRunning, error: 3, step: 'attach to c1' }),
      kind: 'FailedPrecondition',
    },
    'is answered with something else': { handle: (_, answer) => answer('done', {}), kind: 'DataLoss' },
    'loses its shim': { handle: (_, __, socket) => socket.destroy(), kind: 'Unavailable' },
  };
  for (const [name, { handle, kind }] of Object.entries(failed)) {
    test(`one that ${name} is an error, and leaves nothing open`, { timeout: 10_000 }, async () => {
      const shim = await connected(handle);
      const attached = { key: 'c1', stdin: false, stdout: true, stderr: false, once: false };
      await assert.rejects(shim.openExec(spec), { kind });
      await assert.rejects(shim.attach(attached), { kind });
      await until(allClosed);
      shim.close();
    });
  }

  test('that nobody waits for any more is closed, and its end is not awaited', { timeout: 10_000 }, async () => {
    const shim = await connected((_, answer) => answer('opened', none));
    const { ended, abandon } = await shim.openExec(spec);
    const over = assert.rejects(ended, { kind: 'Unavailable' });
    abandon();
    await over;
    await until(allClosed);
    shim.close();
  });

  test('where there is no shim is Unavailable', async () => {
    const shim = await connected();
    rmSync(join(listener.podDir, 'shim.sock'));
    await assert.rejects(shim.openExec(spec), { kind: 'Unavailable', message: /Cannot reach the shim for exec of/ });
    shim.close();
  });
});
