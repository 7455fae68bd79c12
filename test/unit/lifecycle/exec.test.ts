// Commands in containers: what the shim is asked for, and what is left when they end.
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { PassThrough, Writable } from 'node:stream';
import { describe, test } from 'node:test';
import { Fault } from '../../../src/base/fault.ts';
import { drain, pump } from '../../../src/lifecycle/exec/pump.ts';
import { execStream } from '../../../src/lifecycle/exec/stream.ts';
import { execSync } from '../../../src/lifecycle/exec/sync.ts';
import type { ContainerState } from '../../../src/model/container.ts';
import type { ExecSpec, OpenExec, OpenExecSpec } from '../../../src/shim/index.ts';
import { containerId, containerIn, daemonWith, ended, exited, podId, running } from './fakes.ts';

const signal = new AbortController().signal;
const process = { args: ['/entry'], cwd: '/w', env: ['A=1'], user: { uid: 5 }, oomScoreAdj: 7 };

/** A container whose process is known; `exec` answers, and `asked` is what it was asked for. */
async function world(state: ContainerState = running, exec = async () => ({ ...ended(), started: true })) {
  const made = await daemonWith({ containers: [containerIn(state)] });
  const { layout } = made.deps;
  writeFileSync(layout.processFile(podId, containerId), JSON.stringify(process));
  const asked: { spec: ExecSpec; written: unknown }[] = [];
  Object.assign(made.runtime, {
    exec: (_: string, __: string, file: string, tty: boolean) => ['/bin/crun', 'exec', file, `${tty}`],
  });
  Object.assign(made.ownShim, {
    exec: async (spec: ExecSpec) => {
      asked.push({ spec, written: JSON.parse(readFileSync(spec.argv[2]!, 'utf8')) });
      return exec();
    },
  });
  const left = () => readdirSync(layout.bundle(podId, containerId)).filter((name) => name.startsWith('exec-'));
  return { ...made, asked, left };
}

describe('ExecSync', () => {
  test("runs the container's own process with another command, and leaves no file", async () => {
    const { deps, asked, left } = await world();
    await execSync(deps, containerId, ['/bin/probe'], 0, signal);
    assert.deepEqual(asked[0]!.written, { ...process, args: ['/bin/probe'], terminal: false });
    assert.equal(asked[0]!.spec.oomScoreAdj, 7);
    assert.deepEqual(left(), []);
  });

  const second = 1000;
  for (const [timeoutMs, ociSeconds, deadlineMs, startDeadlineMs] of [
    [0, 60, 0, 60 * second],
    [second, 60, second, 11 * second],
    [55 * second, 60, 55 * second, 60 * second],
    [second, 5, second, 5 * second],
    [Number.MAX_SAFE_INTEGER, 60, 2 ** 31 - 1, 60 * second],
  ] as const) {
    test(`${timeoutMs} ms for it, ${ociSeconds} s for OCI runtimes: ${startDeadlineMs} ms for its start`, async () => {
      const { deps, asked } = await world();
      const { settings } = deps;
      Object.assign(deps, { settings: { ...settings, timeouts: { ...settings.timeouts, ociRuntime: ociSeconds } } });
      await execSync(deps, containerId, ['/bin/probe'], timeoutMs, signal);
      const { spec } = asked[0]!;
      assert.deepEqual([spec.deadlineMs, spec.startDeadlineMs], [deadlineMs, startDeadlineMs]);
    });
  }

  const failures: Record<string, { exec: () => Promise<unknown>; expected: object }> = {
    'takes too long': {
      exec: async () => ({ ...ended({ timedOut: true }), started: true }),
      expected: { kind: 'DeadlineExceeded', message: /"\/bin\/probe" in container c+ timed out/ },
    },
    'cannot be run': {
      exec: async () => ({ ...ended({ code: 1, stderr: Buffer.from('no such file') }), started: false }),
      expected: { kind: 'Internal', message: /cannot be run: crun: no such file/ },
    },
    'loses its shim': {
      exec: () => Promise.reject(new Fault('Unavailable', 'the shim was lost')),
      expected: { kind: 'Unavailable' },
    },
  };
  for (const [name, { exec, expected }] of Object.entries(failures)) {
    test(`a command that ${name} is an error, and leaves no file`, async () => {
      const { deps, left } = await world(running, exec as never);
      await assert.rejects(execSync(deps, containerId, ['/bin/probe'], 1000, signal), expected);
      assert.deepEqual(left(), []);
    });
  }

  test('an exit code of its own is no error', async () => {
    const { deps } = await world(running, async () => ({
      ...ended({ code: 3, stdout: Buffer.from('no') }),
      started: true,
    }));
    const { code, stdout } = await execSync(deps, containerId, ['/bin/probe'], 1000, signal);
    assert.deepEqual([code, `${stdout}`], [3, 'no']);
  });

  test('a container that is removed meanwhile, with its bundle, leaves the command its end', async () => {
    let remove = () => {};
    const { deps } = await world(running, async () => {
      remove();
      return { ...ended({ code: 137 }), started: true };
    });
    remove = () => rmSync(deps.layout.bundle(podId, containerId), { recursive: true });
    assert.equal((await execSync(deps, containerId, ['/bin/probe'], 1000, signal)).code, 137);
    await assert.rejects(execSync(deps, containerId, ['/bin/probe'], 1000, signal), {
      kind: 'FailedPrecondition',
      message: /bundle of container c+ is gone/,
    });
  });

  test('is refused where nothing runs, and for no command', async () => {
    const { deps, asked } = await world(exited);
    await assert.rejects(execSync(deps, containerId, ['/bin/probe'], 0, signal), { kind: 'FailedPrecondition' });
    await assert.rejects(execSync(deps, 'unknown', ['/bin/probe'], 0, signal), { kind: 'NotFound' });
    await assert.rejects(execSync(deps, containerId, [], 0, signal), { kind: 'InvalidArgument' });
    assert.deepEqual(asked, []);
  });
});

describe('Exec with the streams of a client', () => {
  const io = (left: AbortSignal) => ({ stdin: null, stdout: null, stderr: null, onResize: () => {}, left }) as never;

  async function streaming(open: Partial<OpenExec>) {
    const made = await world();
    const asked: OpenExecSpec[] = [];
    const openExec = async (spec: OpenExecSpec) => {
      asked.push(spec);
      return { stdio: { input: null, stdout: null, stderr: null }, abandon: () => {}, ...open };
    };
    Object.assign(made.ownShim, { openExec });
    return { ...made, asked };
  }

  test('its exit code comes back, and the file of its process is gone', async () => {
    const { deps, asked, left } = await streaming({ ended: Promise.resolve(ended({ code: 5 })) });
    const code = await execStream(deps, containerId, { args: ['/bin/sh'], tty: false }, io(signal));
    assert.deepEqual([code, left()], [5, []]);
    const { tty, stdin, stdout, stderr } = asked[0]!;
    assert.deepEqual([tty, stdin, stdout, stderr], [false, false, false, false]);
  });

  test('a client that leaves has what waits for the end freed', async () => {
    const { promise, reject } = Promise.withResolvers<never>();
    const abandon = () => reject(new Fault('Unavailable', 'nobody waits'));
    const { deps } = await streaming({ ended: promise, abandon });
    const client = new AbortController();
    const ran = execStream(deps, containerId, { args: ['/bin/sh'], tty: false }, io(client.signal));
    setImmediate(() => client.abort());
    await assert.rejects(ran, { kind: 'Unavailable', message: 'nobody waits' });
  });

  test('one that cannot be run says why', async () => {
    const failed = ended({ code: 1, stderr: Buffer.from('no such file') });
    const { deps, left } = await streaming({ stdio: null, ended: Promise.resolve(failed) });
    const ran = execStream(deps, containerId, { args: ['/bin/none'], tty: false }, io(signal));
    await assert.rejects(ran, {
      kind: 'Internal',
      message: /"\/bin\/none" in container c+ cannot be run: crun: no such/,
    });
    assert.deepEqual(left(), []);
  });
});

describe('output that others hold open', () => {
  test('is waited for so long and no longer', async () => {
    const source = new PassThrough();
    const taken: string[] = [];
    const sink = new Writable({ write: (chunk, _, done) => done(void taken.push(`${chunk}`)) });
    source.write('last words');
    await drain([pump(source, sink)], 10);
    assert.deepEqual([taken, source.destroyed, sink.destroyed], [['last words'], true, false]);
  });

  test('is copied at whatever pace the client takes', async () => {
    const source = new PassThrough();
    const takes: (() => void)[] = [];
    let bytes = 0;
    const sink = new Writable({
      highWaterMark: 1,
      write: (chunk, _, done) => {
        bytes += chunk.length;
        takes.push(done);
      },
    });
    const drained = drain([pump(source, sink)], 5);
    for (let chunks = 10; chunks > 0; chunks--) source.write(Buffer.alloc(20_000));
    source.end();
    while (takes.length === 0) await new Promise(setImmediate);
    const slow = Promise.withResolvers<void>();
    setTimeout(slow.resolve, 50); // ten times as long as an idle one may be
    await slow.promise;
    const pace = setInterval(() => takes.shift()?.(), 1);
    await drained;
    clearInterval(pace);
    assert.equal(bytes, 200_000);
  });
});

test('no file of the container itself is taken for one of a command', async () => {
  const { deps } = await world();
  await execSync(deps, containerId, ['/bin/probe'], 0, signal);
  assert.ok(existsSync(deps.layout.processFile(podId, containerId)));
});
