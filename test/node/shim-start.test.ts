// Tracked processes made by real OCI runtimes: their logs, their ends, their terminals.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import {
  closeSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmdirSync,
  statSync,
  symlinkSync,
} from 'node:fs';
import { mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { isFault } from '../../src/base/fault.ts';
import { connectShim, readExitFile, type SandboxSpec } from '../../src/shim/index.ts';
import { compiled } from '../harness/compile.ts';
import { Hung, processesNamed } from '../harness/hung.ts';
import { hostName, ownHost } from '../harness/own-host.ts';
import type { RuntimeName } from './shim-support.ts';
import {
  alive,
  env,
  gated,
  leaving,
  makeBundle,
  ociRuntimes,
  readLog,
  sanitized,
  script,
  startPod,
  startScript,
  statusOf,
  until,
} from './shim-support.ts';

await ownHost();

/** Namespaces on the host's network. */
const onHost: SandboxSpec = {
  network: false,
  pid: false,
  ipc: true,
  uts: false,
  hostname: '',
  netnsPath: '',
  sysctls: [],
  cgroupTasks: [],
  cgroupFolder: '',
  oomScoreAdj: null,
};

for (const runtime of Object.keys(ociRuntimes) as RuntimeName[]) {
  describe(runtime, () => {
    test('the log has every line of both streams, and the exit is on record', async (t) => {
      const pod = await startPod(t);
      const text = 'echo one; echo two >&2; echo; printf "\\tlast, unended"; exit 7';
      const bundle = await makeBundle(pod, runtime, ['/bin/sh', '-c', text]);
      const before = Date.now();
      const pid = await bundle.up();
      const exit = await pod.exited(bundle.id);
      const after = Date.now();
      assert.deepEqual({ ...exit, at: 0 }, { key: bundle.id, pid, code: 7, signal: 0, oomKilled: false, at: 0 });
      assert.ok(exit.at >= before && exit.at <= after + 1);
      assert.deepEqual(await readExitFile(join(bundle.dir, 'exit')), exit);
      const lines = await readLog(join(bundle.dir, 'log'));
      assert.deepEqual(
        lines.filter(({ stream }) => stream === 'stdout').map(({ tag, text: line }) => `${tag} ${line}`),
        ['F one', 'F ', 'P \tlast, unended'],
      );
      assert.deepEqual(
        lines.filter(({ stream }) => stream === 'stderr').map(({ tag, text: line }) => `${tag} ${line}`),
        ['F two'],
      );
      for (const { at } of lines) assert.ok(at >= before && at <= after);
      assert.deepEqual((await pod.shim.list()).processes, [
        { key: bundle.id, pid, exit, lost: { bytes: 0, lines: 0, error: '' } },
      ]);
      assert.equal(await pod.shim.signal(bundle.id, 9), false);
      await assert.rejects(pod.shim.reopenLog(bundle.id, 10_000), (error) => isFault(error, 'FailedPrecondition'));
      await pod.shim.forget(bundle.id);
      await pod.shim.forget(bundle.id);
      assert.deepEqual((await pod.shim.list()).processes, []);
    });

    test('a signal is delivered, and is the exit', async (t) => {
      const pod = await startPod(t);
      const bundle = await makeBundle(pod, runtime, ['/bin/sh', '-c', 'sleep 1201']);
      const pid = await bundle.up();
      await assert.rejects(pod.shim.forget(bundle.id), (error) => isFault(error, 'FailedPrecondition'));
      assert.equal(await pod.shim.signal(bundle.id, 9, { all: true }), true);
      const exit = await pod.exited(bundle.id);
      assert.deepEqual([exit.pid, exit.code, exit.signal, exit.oomKilled], [pid, 137, 9, false]);
    });

    test('an OCI runtime that fails answers with its own words, and nothing is tracked or logged', async (t) => {
      const pod = await startPod(t);
      const bundle = await makeBundle(pod, runtime, ['/bin/true']);
      await writeFile(join(bundle.dir, 'config.json'), '{}');
      const result = await pod.shim.start(bundle.create());
      assert.equal(result.pid, 0);
      assert.notEqual(result.code, 0);
      assert.notEqual(result.stderr.length, 0);
      assert.deepEqual((await pod.shim.list()).processes, []);
      assert.deepEqual(await readLog(join(bundle.dir, 'log')), []);
      assert.equal(existsSync(join(bundle.dir, 'exit')), false);
    });

    test('a container killed for want of memory says so', async (t) => {
      const pod = await startPod(t);
      const greedy = 'x=a; while :; do x=$x$x; done';
      const bundle = await makeBundle(pod, runtime, ['/bin/sh', '-c', greedy], { memoryLimit: 16 * 1024 * 1024 });
      await bundle.up({ oomFile: join(bundle.cgroup, 'memory.oom_control') });
      const exit = await pod.exited(bundle.id);
      assert.deepEqual([exit.code, exit.signal, exit.oomKilled], [137, 9, true]);
      assert.equal((await readExitFile(join(bundle.dir, 'exit')))?.oomKilled, true);
    });

    test('a terminal comes through the console socket and is logged', async (t) => {
      const pod = await startPod(t);
      const bundle = await makeBundle(pod, runtime, ['/bin/sh', '-c', 'tty && echo from a terminal'], { tty: true });
      await bundle.up({ tty: true });
      await pod.exited(bundle.id);
      const lines = await readLog(join(bundle.dir, 'log'));
      assert.match(lines[0]!.text, /^\/dev\/(pts\/\d+|console)\r$/);
      assert.equal(lines[1]!.text, 'from a terminal\r');
      assert.deepEqual(
        readdirSync(pod.dir).filter((name) => name.startsWith('console')),
        [],
      );
    });
  });
}

test('long lines are split at 16 KiB, and lines of that very length are not', async (t) => {
  const pod = await startPod(t);
  const size = 16384;
  const text = `p() { head -c $1 /dev/zero | tr '\\0' x; }; p ${size}; echo; p ${size + 1}; echo; p ${2 * size}; echo; p ${3 * size - 1}; echo; p ${size}`;
  const bundle = await makeBundle(pod, 'crun', ['/bin/sh', '-c', text]);
  await bundle.up();
  await pod.exited(bundle.id);
  const lines = await readLog(join(bundle.dir, 'log'));
  assert.deepEqual(
    lines.map(({ tag, text: line }) => `${tag} ${line.length}`),
    ['F 16384', 'P 16384', 'F 1', 'P 16384', 'F 16384', 'P 16384', 'P 16384', 'F 16383', 'P 16384'],
  );
});

test('what no newline ended is a piece: of each stream by itself, and of a line as long as a piece can be', async (t) => {
  const pod = await startPod(t);
  const size = 16384;
  const later = 'sleep 0.05'; // whether the shim reads all at once or in parts makes no difference
  const text = `p() { head -c $1 /dev/zero | tr '\\0' x; }; printf a; printf 1 >&2; ${later}; printf 'b\\nc'; printf 2 >&2; echo; p ${size}; ${later}; echo; p ${size + 1}`;
  const bundle = await makeBundle(pod, 'crun', ['/bin/sh', '-c', text]);
  await bundle.up();
  await pod.exited(bundle.id);
  const lines = await readLog(join(bundle.dir, 'log'));
  const of = (name: string) =>
    lines
      .filter(({ stream }) => stream === name)
      .map(({ tag, text: line }) => `${tag} ${line.length > 9 ? line.length : line}`);
  assert.deepEqual(of('stdout'), ['F ab', 'F c', 'F 16384', 'P 16384', 'P x']);
  assert.deepEqual(of('stderr'), ['P 12']);
});

test('reopening the log under load loses, doubles and tears no line', async (t) => {
  const pod = await startPod(t);
  const count = 500_000;
  const text = `seq 1 ${count}`;
  const bundle = await makeBundle(pod, 'crun', ['/bin/sh', '-c', text]);
  const log = join(bundle.dir, 'log');
  const created = await pod.shim.start(bundle.create());
  assert.notEqual(created.pid, 0);
  const exited = pod.exited(bundle.id);
  let ended = false;
  void exited.then(() => {
    ended = true;
  });
  await pod.shim.run({ argv: bundle.command('start', bundle.id), env, cwd: '/', deadlineMs: 30_000 });
  const parts: string[] = [];
  while (!ended) {
    const part = `${log}.${parts.length}`;
    await rename(log, part);
    parts.push(part);
    try {
      await pod.shim.reopenLog(bundle.id, 10_000);
    } catch (error) {
      assert.ok(isFault(error, 'FailedPrecondition'), `${error}`);
    }
  }
  const all = (await Promise.all([...parts, ...(existsSync(log) ? [log] : [])].map(readLog))).flat();
  assert.ok(parts.length > 1);
  assert.equal(all.length, count);
  assert.ok(all.every((line, i) => line.text === `${i + 1}` && line.tag === 'F'));
});

test('the daemon killed and back again loses no line and no exit', async (t) => {
  const pod = await startPod(t);
  const count = 200_000;
  const bundle = await makeBundle(pod, 'crun', ['/bin/sh', '-c', `seq 1 ${count}; exit 3`]);
  const index = join(import.meta.dirname, '../../src/shim/index.ts');
  const file = join(pod.dir, 'start.json');
  const start = { argv: bundle.command('start', bundle.id), env, cwd: '/', deadlineMs: 30_000 };
  await writeFile(file, JSON.stringify({ create: bundle.create(), start }));
  const text = `const { connectShim } = await import(${JSON.stringify(index)});
    const { create, start } = JSON.parse((await import('node:fs')).readFileSync(${JSON.stringify(file)}, 'utf8'));
    const shim = await connectShim(${JSON.stringify(pod.dir)}, { onExit() {}, onLost() {} });
    await shim.start(create);
    await shim.run(start);
    process.stdout.write('started');
    setInterval(() => {}, 1000);`;
  const daemon = spawn(process.execPath, ['--input-type=module', '-e', text], { stdio: ['ignore', 'pipe', 'inherit'] });
  await new Promise((resolve) => daemon.stdout.once('data', resolve));
  daemon.kill('SIGKILL');
  await new Promise((resolve) => daemon.once('exit', resolve));
  const shim = (await connectShim(pod.dir, { onExit() {}, onLost() {} }))!;
  assert.equal((await shim.list()).processes[0]?.key, bundle.id);
  const exit = await pod.exited(bundle.id);
  assert.equal(exit.code, 3);
  assert.deepEqual((await shim.list()).processes[0]?.exit, exit);
  assert.deepEqual(await readExitFile(join(bundle.dir, 'exit')), exit);
  shim.close();
  const lines = await readLog(join(bundle.dir, 'log'));
  assert.ok(lines.length === count && lines.every((line, i) => line.text === `${i + 1}`));
});

test('the exit file is there when the event comes, and a start under a taken key is refused', async (t) => {
  const pod = await startPod(t);
  for (let i = 0; i < 50; i++) {
    const spec = startScript(pod, `c${i}`, leaving('exit 5'));
    const { pid } = await pod.shim.start(spec);
    assert.notEqual(pid, 0);
    await pod.exited(spec.key);
    assert.ok(existsSync(spec.exitFile));
    assert.equal((await readExitFile(spec.exitFile))?.code, 5);
    assert.equal(existsSync(spec.pidFile), false);
  }
  await assert.rejects(pod.shim.start(startScript(pod, 'c1', 'true')), (error) => isFault(error, 'AlreadyExists'));
  for (const key of ['', 'pause', 'a"b', '../x', 'x'.repeat(129)])
    await assert.rejects(pod.shim.start(startScript(pod, key, 'true', { logPath: '' })), /EINVAL/);
  const longest = startScript(pod, 'x'.repeat(128), leaving('exit 0'), { logPath: '' });
  assert.notEqual((await pod.shim.start(longest)).pid, 0);
  assert.equal((await pod.shim.list()).processes.length, 51);
});

test('all that was written before the exit is in the log when the event comes', async (t) => {
  const pod = await startPod(t);
  for (let i = 0; i < 10; i++) {
    const key = `c${i}`;
    const go = join(pod.dir, key);
    const text = `until [ -e ${go} ]; do sleep 0.01; done; yes | head -c 60000`;
    const { pid } = await pod.shim.start(startScript(pod, key, leaving(text)));
    process.kill(pod.shim.pid, 'SIGSTOP'); // so that it finds the output and the exit at once
    await writeFile(go, '');
    await until(() => !alive(pid));
    process.kill(pod.shim.pid, 'SIGCONT');
    await pod.exited(key);
    const log = readFileSync(join(pod.dir, `${key}.log`), 'latin1');
    assert.equal(log.split('\n').length - 1, 30_000);
  }
});

/**
 * An OCI runtime that connects to the console socket, and sends a terminal's master when the file `go` is there. Before that
 * somebody else connects, who is turned away, and sends another.
 */
const slowConsole = `
import array, os, pty, socket, sys, time
console, pid_file = sys.argv[1:]
peer = socket.socket(socket.AF_UNIX)
peer.connect(console)
open("connected", "w")
while not os.path.exists("go"): time.sleep(0.01)
other = socket.socket(socket.AF_UNIX)
other.connect(console)
try:
    other.sendmsg([b"name"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [os.open("/dev/null", os.O_RDWR)]))])
    other.recv(1)
except OSError: pass
child, master = pty.fork()
if child == 0:
    os.execv("/bin/echo", ["echo", "from a terminal"])
peer.sendmsg([b"name"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [master]))])
open(pid_file, "w").write(str(child))
os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
`;

test('a terminal that is long in coming holds nobody else up', async (t) => {
  const pod = await startPod(t);
  const spec = startScript(pod, 'c1', '', { tty: true });
  const argv = ['/usr/bin/python3', '-c', slowConsole, '{console}', spec.pidFile];
  const started = pod.shim.start({ ...spec, argv });
  await until(() => existsSync(join(pod.dir, 'connected')));
  assert.equal((await pod.shim.list()).processes[0]?.pid, 0, 'answered while the terminal is awaited');
  await writeFile(join(pod.dir, 'go'), '');
  assert.notEqual((await started).pid, 0);
  await pod.exited('c1');
  await until(async () => (await readLog(spec.logPath)).length === 1);
  assert.equal((await readLog(spec.logPath))[0]?.text, 'from a terminal\r');
});

test('an OCI runtime that misbehaves is a failure that says how', async (t) => {
  const pod = await startPod(t);
  const cases: { text: string; says: RegExp }[] = [
    { text: 'true', says: /read a pid .*ENOENT/ },
    { text: 'echo pid > $1', says: /read a pid .*EINVAL/ },
    { text: ': > $1', says: /read a pid .*EINVAL/ },
    { text: 'echo -1 > $1', says: /read a pid .*EINVAL/ },
    { text: 'echo 99999999999 > $1', says: /read a pid .*EINVAL/ },
    { text: `echo ${process.pid} > $1`, says: /adopt .*ECHILD/ }, // a stranger's
    { text: 'ln -s /etc/passwd $1', says: /read a pid .*ELOOP/ },
    { text: 'mkfifo $1', says: /read a pid .*EINVAL/ },
  ];
  for (const { text, says } of cases) {
    await assert.rejects(pod.shim.start(startScript(pod, 'c1', text)), says, text);
    assert.deepEqual((await pod.shim.list()).processes, [], text);
    assert.equal(existsSync(join(pod.dir, 'c1.pid')), false);
  }
  const hung = startScript(pod, 'c1', 'setsid sleep 1202 & echo $! > $1; echo $! > $1.kept; sleep 1203', {
    deadlineMs: 300,
  });
  const result = await pod.shim.start(hung);
  assert.deepEqual([result.pid, result.timedOut, result.signal], [0, true, 9]);
  await until(() => !alive(Number(readFileSync(join(pod.dir, 'c1.pid.kept'), 'utf8'))));
  const dumb = startScript(pod, 'c2', 'sleep 1204 & echo $! > $1; echo $! > $1.kept', { tty: true });
  await assert.rejects(pod.shim.start(dumb), /take a terminal from .*EPIPE/);
  await until(() => !alive(Number(readFileSync(join(pod.dir, 'c2.pid.kept'), 'utf8'))));
  const loud = await pod.shim.start(startScript(pod, 'c1', 'head -c 100M /dev/zero; exit 1'));
  assert.deepEqual([loud.pid, loud.code, loud.truncated, loud.stdout.length], [0, 1, true, 65536]);
});

test('an OCI runtime that names a process of another is not believed', async (t) => {
  const pod = await startPod(t);
  const { pid } = await pod.shim.start(startScript(pod, 'mine', 'sleep 1214 & echo $! > $1'));
  const { pausePid } = await pod.shim.sandbox(onHost);
  for (const [key, named] of Object.entries({ another: pid, holder: pausePid }))
    await assert.rejects(pod.shim.start(startScript(pod, key, `echo ${named} > $1`)), /adopt .*EBUSY/);
  const { processes } = await pod.shim.list();
  assert.deepEqual(
    processes.map(({ key, exit }) => [key, exit]),
    [['mine', null]],
  );
  assert.equal(await pod.shim.signal('mine', 9), true);
  await pod.exited('mine');
});

test('of what an OCI runtime hands over on the console socket one descriptor is kept', async (t) => {
  const pod = await startPod(t);
  const rights = await compiled(join(import.meta.dirname, '../hostile/rights.c'));
  const descriptors = () => readdirSync(`/proc/${pod.shim.pid}/fd`).length;
  const idle = descriptors();
  for (const count of [1, 2, 9]) {
    const text = `${rights} $2 ${count} terminal < /dev/null; (sleep 0.1; echo end) & echo $! > $1`;
    const spec = startScript(pod, 'c', text, { tty: true });
    await pod.shim.start({ ...spec, argv: [...spec.argv, '{console}'] });
    await pod.exited('c');
    await pod.shim.forget('c');
    await until(() => descriptors() === idle);
    pod.exits.length = 0;
  }
});

test('a log that cannot be opened stops the start, and one behind a link is not followed', async (t) => {
  const pod = await startPod(t);
  symlinkSync('/etc/passwd', join(pod.dir, 'link'));
  await pod.shim.run(script(`mkfifo ${join(pod.dir, 'fifo')}`));
  const cases = [
    { logPath: '/no/such/log', says: /ENOENT/ },
    { logPath: join(pod.dir, 'link'), says: /ELOOP/ },
    { logPath: join(pod.dir, 'fifo'), says: /ENXIO/ },
    { logPath: '/dev/null', says: /EINVAL/ },
  ];
  for (const { logPath, says } of cases) {
    const start = pod.shim.start(startScript(pod, 'c1', `touch ${pod.dir}/ran`, { logPath }));
    await assert.rejects(start, says, logPath);
  }
  assert.equal(existsSync(join(pod.dir, 'ran')), false);
  assert.deepEqual((await pod.shim.list()).processes, []);
});

test('a log that hangs ends its start at its own deadline; who opens it holds nothing else of the shim', async (t) => {
  const pod = await startPod(t, { complains: /takes too long/ });
  await using hung = await Hung.at(join(pod.dir, 'hung'));
  const start = (key: string, logDeadlineMs: number) =>
    pod.shim.start(startScript(pod, key, 'exit 1', { logPath: join(hung.path, 'log'), logDeadlineMs }));
  let over = false;
  const patient = assert.rejects(start('patient', 30_000)).finally(() => {
    over = true;
  });
  const openers = () => processesNamed('berth-log', pod.shim.pid);
  await until(() => openers().length === 1);
  const held = () => readdirSync(`/proc/${openers()[0]!.pid}/fd`);
  await until(() => held().length === 5); // the usual three and two sockets
  await assert.rejects(start('hasty', 500), /ETIMEDOUT/);
  assert.equal(over, false);
  await hung.answer();
  await patient;
});

test('what is written before the OCI runtime was reaped is logged whole, however much it is', async (t) => {
  const pod = await startPod(t);
  const lines = 200_000;
  const both = `seq 1 ${lines} & seq -f e%.0f 1 ${lines} >&2; wait`;
  const spec = startScript(pod, 'c1', leaving(both, true));
  await pod.shim.start(spec);
  await pod.exited('c1');
  const logged = await readLog(spec.logPath);
  for (const [stream, prefix] of [
    ['stdout', ''],
    ['stderr', 'e'],
  ] as const) {
    const own = logged.filter((line) => line.stream === stream);
    assert.equal(own.length, lines, stream);
    assert.ok(own.every(({ tag, text }, index) => tag === 'F' && text === `${prefix}${index + 1}`));
  }
});

test('what is written while the OCI runtime is still at work is logged, once', async (t) => {
  const pod = await startPod(t);
  const [wrote, go] = [join(pod.dir, 'wrote'), join(pod.dir, 'go')];
  const text = `(echo early; : >${wrote}; exec sleep 1297) & echo $! >$1; until [ -e ${go} ]; do sleep 0.01; done`;
  const spec = startScript(pod, 'c1', text);
  const started = pod.shim.start(spec);
  await until(() => existsSync(wrote));
  for (let turns = 2; turns > 0; turns--) await pod.shim.list(); // by then it is read
  await writeFile(go, '');
  assert.notEqual((await started).pid, 0);
  await pod.shim.signal('c1', 9);
  await pod.exited('c1');
  assert.deepEqual(
    (await readLog(spec.logPath)).map(({ tag, text: line }) => `${tag} ${line}`),
    ['F early'],
  );
});

test('those who are attached and do not read cost little', { skip: sanitized }, async (t) => {
  const pod = await startPod(t);
  const { text, widen, fill } = gated(pod, 900_000, 'exec sleep 1298');
  const spec = startScript(pod, 'c1', leaving(text));
  await pod.shim.start(spec);
  await widen();
  const attached = { key: 'c1', stdin: false, stdout: true, stderr: false, once: false };
  const descriptors = () => readdirSync(`/proc/${pod.shim.pid}/fd`).length;
  const idle = descriptors();
  const streams = await Promise.all(Array.from({ length: 20 }, () => pod.shim.attach(attached)));
  const used = () => Number.parseInt(statusOf(pod.shim.pid, 'VmRSS'), 10);
  const before = used();
  await fill(false);
  assert.ok(used() < before + 4 * 1024, `${used() - before} KiB`);
  for (const { stdout } of streams) closeSync(stdout!);
  await until(() => statSync(spec.logPath).size > 940_000); // nobody holds it up any more
  await until(() => descriptors() === idle);
  await pod.shim.signal('c1', 9, { all: true });
  await pod.exited('c1');
});

test('of an OCI runtime that fails nothing stays in the log, and what was there before does', async (t) => {
  const pod = await startPod(t);
  const spec = startScript(pod, 'c1', 'seq 1 200000; seq 1 200000 >&2; printf torn; exit 1');
  const before = '2026-01-01T00:00:00.000000000Z stdout F of an earlier attempt\n';
  await writeFile(spec.logPath, before);
  const { pid, code, truncated, stdout } = await pod.shim.start(spec);
  assert.deepEqual([pid, code, truncated, stdout.length], [0, 1, true, 65536]);
  assert.equal(await readFile(spec.logPath, 'utf8'), before);
});

test('what others hold open is logged after the exit, until forgotten', async (t) => {
  const pod = await startPod(t);
  const go = join(pod.dir, 'go');
  const later = `(until [ -e ${go} ]; do sleep 0.01; done; echo later; printf end) & echo first`;
  const spec = startScript(pod, 'c1', leaving(later));
  await pod.shim.start(spec);
  await pod.exited('c1');
  assert.deepEqual(
    (await readLog(spec.logPath)).map(({ text }) => text),
    ['first'],
  );
  await writeFile(go, '');
  await until(async () => (await readLog(spec.logPath)).length === 3);
  assert.deepEqual(
    (await readLog(spec.logPath)).map(({ text }) => text),
    ['first', 'later', 'end'],
  );
});

test('a full disk costs lines that are counted, tears none, and does not stop the writer', {
  skip: sanitized,
}, async (t) => {
  const pod = await startPod(t);
  const disk = await mkdtemp(join(tmpdir(), 'shim-disk-'));
  await pod.shim.run({
    argv: ['/bin/mount', '-t', 'tmpfs', '-o', 'size=1M', 'tmpfs', disk],
    env,
    cwd: '/',
    deadlineMs: 10_000,
  });
  pod.defer(async () => {
    await pod.shim.signal('c1', 9);
    await pod.exited('c1');
    await pod.shim.forget('c1');
    await new Promise((resolve) => spawn('/bin/umount', [disk]).once('exit', resolve));
    await rm(disk, { recursive: true });
  });
  const logPath = join(disk, 'log');
  const go = join(pod.dir, 'go');
  const text = `sh -c "seq 1 100000; until [ -e ${go} ]; do sleep 0.01; done; echo again" & echo $! > $1`;
  await pod.shim.start(startScript(pod, 'c1', text, { logPath }));
  const lost = async () => (await pod.shim.list()).processes[0]!.lost.bytes;
  const lineBytes = (n: number) => n * 40 + 488_895 + n; // header, digits of 1..100000, newline
  await until(async () => (await lost()) + (await readFile(logPath)).length === lineBytes(100_000));
  const kept = await readLog(logPath);
  assert.ok(kept.length > 1000 && kept.length < 100_000);
  assert.ok(kept.every((line, i) => line.text === `${i + 1}`));
  await rename(logPath, `${logPath}.1`);
  await rm(`${logPath}.1`);
  await pod.shim.reopenLog('c1', 10_000);
  await writeFile(go, '');
  assert.equal((await pod.exited('c1')).code, 0);
  assert.deepEqual(
    (await readLog(logPath)).map(({ text: line }) => line),
    ['again'],
  );
});

test('an exit file that the disk refuses is written as soon as it can be', async (t) => {
  const pod = await startPod(t, { complains: /cannot write the exit file/ });
  const folder = join(pod.dir, 'exits');
  const exitFile = join(folder, 'c1');
  await pod.shim.start(startScript(pod, 'c1', leaving('exit 4'), { exitFile }));
  assert.equal((await pod.exited('c1')).code, 4);
  mkdirSync(folder);
  await until(() => existsSync(exitFile));
  assert.equal((await readExitFile(exitFile))?.code, 4);
  assert.deepEqual(readdirSync(folder), ['c1']);
});

test('an exit file that cannot take its place leaves no other in the way', async (t) => {
  const pod = await startPod(t, { complains: /cannot write the exit file/ });
  const exitFile = join(pod.dir, 'c1.exit');
  mkdirSync(exitFile);
  await pod.shim.start(startScript(pod, 'c1', leaving('exit 4')));
  await pod.exited('c1');
  assert.equal(existsSync(`${exitFile}.tmp`), false);
  rmdirSync(exitFile);
  await until(() => existsSync(exitFile));
  assert.equal((await readExitFile(exitFile))?.code, 4);
});

test('the standard input stays open when it was asked for, and is empty when not', async (t) => {
  const pod = await startPod(t);
  const text = leaving('cat; echo eof');
  // A background command of a shell has /dev/null for its input; the descriptor is passed around that.
  const fed = 'exec 3<&0; sh -c "cat; echo eof" <&3 & echo $! > $1';
  await pod.shim.start(startScript(pod, 'closed', text));
  await pod.exited('closed');
  assert.deepEqual(
    (await readLog(join(pod.dir, 'closed.log'))).map((line) => line.text),
    ['eof'],
  );
  const { pid } = await pod.shim.start(startScript(pod, 'open', fed, { stdin: true }));
  assert.ok(alive(pid));
  assert.equal(await pod.shim.signal('open', 15, { all: true }), true);
  await pod.exited('open');
  assert.deepEqual(await readLog(join(pod.dir, 'open.log')), []);
});

test('a signal to all reaches the descendants, those with sessions of their own too', async (t) => {
  const pod = await startPod(t);
  const many = 100; // so that the first is long dead when the last is looked at
  for (const signo of [15, 9]) {
    const [key, file] = [`c${signo}`, join(pod.dir, `pids-${signo}`)];
    const sessions = `for i in \\$(seq ${many}); do setsid sleep 1205 & echo \\$! >> ${file}; done`;
    const text = `sh -c "sleep 1204 & echo \\$! >> ${file}; ${sessions}; wait" & echo $! > $1`;
    await pod.shim.start(startScript(pod, key, text));
    const pids = () => (existsSync(file) ? readFileSync(file, 'utf8').trim().split('\n').map(Number) : []);
    await until(() => pids().length === 1 + many);
    await pod.shim.signal(key, signo, { all: true });
    await pod.exited(key);
    await until(() => !pids().some(alive));
  }
  await assert.rejects(pod.shim.signal('none', 9), (error) => isFault(error, 'NotFound'));
  await assert.rejects(pod.shim.signal('c9', 65), (error) => isFault(error, 'InvalidArgument'));
});

function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return ''; // closed meanwhile
  }
}

test('a cgroup that is removed while its process lives is no longer watched', async (t) => {
  const pod = await startPod(t);
  const folder = `/sys/fs/cgroup/unified/bt${hostName}x-shim`;
  mkdirSync(folder);
  // cgroup.events announces its changes as memory.events does, on hosts where the memory controller is v1 too.
  await pod.shim.start(startScript(pod, 'c1', leaving('exec sleep 1206'), { oomFile: join(folder, 'cgroup.events') }));
  const { pid } = (await pod.shim.list()).processes[0]!;
  await writeFile(join(folder, 'cgroup.procs'), `${pid}`);
  await writeFile('/sys/fs/cgroup/unified/cgroup.procs', `${pid}`);
  rmdirSync(folder);
  const open = () => readdirSync(`/proc/${pod.shim.pid}/fd`).map((fd) => linkOf(`/proc/${pod.shim.pid}/fd/${fd}`));
  await until(async () => {
    await pod.shim.list(); // a removal is no event; the next turn of the loop sees it
    return !open().some((link) => link.includes('cgroup.events'));
  });
  assert.equal(await pod.shim.signal('c1', 9), true);
  assert.equal((await pod.exited('c1')).oomKilled, false);
});

test('a cgroup that is gone by then leaves the OOM question unanswered, not the exit', async (t) => {
  const pod = await startPod(t);
  const folder = join(pod.dir, 'cgroup');
  mkdirSync(folder);
  await pod.shim.start(startScript(pod, 'c1', leaving('sleep 0.1'), { oomFile: join(folder, 'memory.events') }));
  rmdirSync(folder);
  assert.equal((await pod.exited('c1')).oomKilled, false);
});
