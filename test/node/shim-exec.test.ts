// Captured processes made by real OCI runtimes, and by scripts that stand for ones that race.
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import type { ExecSpec } from '../../src/shim/index.ts';
import { ownHost } from '../harness/own-host.ts';
import type { Bundle, RuntimeName, TestPod } from './shim-support.ts';
import {
  alive,
  env,
  gated,
  leaving,
  makeBundle,
  ociRuntimes,
  readProc,
  sanitized,
  startPod,
  statusOf,
  textOf,
  until,
} from './shim-support.ts';

await ownHost();

const limits = { env, cwd: '/', deadlineMs: 0, startDeadlineMs: 30_000, drainMs: 1_000, maxOutput: 65_536 };
let serial = 0;

function execIn(bundle: Bundle, args: readonly string[], more: Partial<ExecSpec> = {}): ExecSpec {
  const pidFile = join(bundle.dir, `exec-${serial++}.pid`);
  return {
    ...limits,
    argv: bundle.command('exec', '--detach', '--pid-file', pidFile, bundle.id, ...args),
    pidFile,
    ...more,
  };
}

function execScript(pod: TestPod, text: string, more: Partial<ExecSpec> = {}): ExecSpec {
  const pidFile = join(pod.dir, `exec-${serial++}.pid`);
  return { ...limits, argv: ['/bin/sh', '-c', text, 'sh', pidFile], pidFile, ...more };
}

/** The pids outside the container of all that runs with this argument. */
const running = (argument: string): number[] =>
  readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && alive(Number(name)))
    .filter((name) => readProc(name, 'cmdline').split('\0').includes(argument))
    .map(Number);

for (const runtime of Object.keys(ociRuntimes) as RuntimeName[]) {
  describe(runtime, () => {
    test('output, exit code and signal come back, and a failure of the OCI runtime is told apart', async (t) => {
      const pod = await startPod(t);
      const bundle = await makeBundle(pod, runtime, ['/bin/sh', '-c', 'sleep 1301']);
      await bundle.up();
      const result = await pod.shim.exec(execIn(bundle, ['/bin/sh', '-c', 'echo out; echo err >&2; exit 3']));
      assert.deepEqual(textOf(result), { code: 3, stdout: 'out\n', stderr: 'err\n' });
      assert.equal(result.started, true);
      const killed = await pod.shim.exec(execIn(bundle, ['/bin/sh', '-c', 'kill -9 $$']));
      assert.deepEqual([killed.started, killed.code, killed.signal, killed.timedOut], [true, 137, 9, false]);
      const none = await pod.shim.exec(execIn(bundle, ['/no/such']));
      assert.equal(none.started, false);
      assert.match(none.stderr.toString(), /no such/i);
      assert.deepEqual(
        readdirSync(bundle.dir).filter((name) => name.startsWith('exec-')),
        [],
      );
    });

    test('at its deadline the exec and all that it started are killed', async (t) => {
      const pod = await startPod(t);
      const bundle = await makeBundle(pod, runtime, ['/bin/sh', '-c', 'sleep 1302']);
      await bundle.up();
      const text = '(sleep 1313 &) ; sleep 1303 & sh -c "trap : TERM; sleep 1304; sleep 1305" & echo said; sleep 1306';
      const result = await pod.shim.exec(execIn(bundle, ['/bin/sh', '-c', text], { deadlineMs: 500 }));
      assert.deepEqual([result.timedOut, result.signal, result.stdout.toString()], [true, 9, 'said\n']);
      await until(() => ['1303', '1304', '1305', '1306', '1313'].flatMap(running).length === 0);
      assert.equal(running('1302').length > 0, true);
    });
  });
}

test('more than is kept is read and dropped', async (t) => {
  const pod = await startPod(t);
  const bundle = await makeBundle(pod, 'crun', ['/bin/sh', '-c', 'sleep 1307']);
  await bundle.up();
  const text = 'head -c 50000000 /dev/zero; head -c 10 /dev/zero >&2; exit 2';
  const result = await pod.shim.exec(execIn(bundle, ['/bin/sh', '-c', text], { maxOutput: 1_000_000 }));
  assert.deepEqual([result.code, result.truncated], [2, true]);
  assert.deepEqual([result.stdout.length, result.stderr.length], [1_000_000, 10]);
});

test('what was written before the end is there, although nobody waits for those who hold it open', async (t) => {
  const pod = await startPod(t);
  const { text, widen, fill } = gated(pod, 900_000, 'exit 4');
  const spec = execScript(pod, leaving(`sleep 1308 & ${text}`), { drainMs: 0, maxOutput: 2_000_000 });
  const ran = pod.shim.exec(spec);
  await widen();
  await fill(true);
  const { code, stdout } = await ran;
  for (const pid of running('1308')) process.kill(pid, 'SIGKILL');
  await until(() => running('1308').length === 0);
  assert.deepEqual([code, stdout.length], [4, 965_536]);
});

test("a score for want of memory is that of the OCI runtime and so of what it makes; without one it is the shim's", async (t) => {
  const pod = await startPod(t);
  const scoreOf = async (more: Partial<ExecSpec>) => {
    const { stdout } = await pod.shim.exec(execScript(pod, leaving('cat /proc/self/oom_score_adj'), more));
    return Number(`${stdout}`);
  };
  const own = Number(readFileSync(`/proc/${pod.shim.pid}/oom_score_adj`, 'utf8'));
  assert.deepEqual([await scoreOf({}), await scoreOf({ oomScoreAdj: own + 7 })], [own, own + 7]);
});

test('a process that ends before its OCI runtime does is not lost', async (t) => {
  const pod = await startPod(t);
  const quick = 'sh -c "echo quick; exit 9" & p=$!; wait $p; echo $p > $1'; // reaped by the OCI runtime itself
  await assert.rejects(pod.shim.exec(execScript(pod, quick)), /adopt .*ECHILD/);
  // A zombie by the time that the OCI runtime ends, which leaves it to the shim.
  const zombie = leaving('echo quick; exit 9', true);
  for (let i = 0; i < 20; i++) {
    const result = await pod.shim.exec(execScript(pod, zombie));
    assert.deepEqual([result.started, result.code, result.stdout.toString()], [true, 9, 'quick\n']);
  }
  // It is reaped by the shim while the command's own end is not seen yet.
  const race = leaving('exit 8');
  const results = await Promise.all(Array.from({ length: 200 }, () => pod.shim.exec(execScript(pod, race))));
  assert.deepEqual(new Set(results.map(({ code, started }) => `${code} ${started}`)), new Set(['8 true']));
});

test('a process between the OCI runtime and what it made is waited for, and killed at the deadline', async (t) => {
  const pod = await startPod(t);
  const go = join(pod.dir, 'go');
  const between = (text: string, middle: string) =>
    `sh -c '${text} & echo $! > $0; ${middle}' $1 > ${pod.dir}/middle & until [ -s $1 ]; do :; done`;
  const exec = pod.shim.exec(execScript(pod, between(`sh -c "exec sleep 1310"`, `until [ -e ${go} ]; do :; done`)));
  await until(() => running('1310').length === 1);
  writeFileSync(go, '');
  await until(() => statusOf(running('1310')[0]!, 'PPid') === `${pod.shim.pid}`);
  process.kill(running('1310')[0]!, 'SIGTERM');
  const result = await exec;
  assert.deepEqual([result.started, result.signal], [true, 15]);
  const held = await pod.shim.exec(execScript(pod, between('sleep 1311', 'sleep 1312'), { startDeadlineMs: 300 }));
  assert.deepEqual([held.started, held.timedOut], [false, true]);
  await until(() => ['1311', '1312'].flatMap(running).length === 0);
});

test('an abort ends the exec, and a hung OCI runtime ends at its own deadline', async (t) => {
  const pod = await startPod(t);
  const abort = new AbortController();
  const file = join(pod.dir, 'file');
  const exec = pod.shim.exec(execScript(pod, leaving(`echo $$ > ${file}; exec sleep 1308`)), abort.signal);
  const rejected = assert.rejects(exec, { message: 'left' });
  await until(() => existsSync(file) && readFileSync(file, 'utf8') !== '');
  abort.abort(new Error('left'));
  await rejected;
  assert.equal(alive(Number(readFileSync(file, 'utf8'))), false);
  const hung = await pod.shim.exec(execScript(pod, 'sleep 1309', { startDeadlineMs: 200 }));
  assert.deepEqual([hung.started, hung.timedOut], [false, true]);
});

test('execs leave no descriptor and no memory behind', async (t) => {
  const pod = await startPod(t);
  const descriptors = () => readdirSync(`/proc/${pod.shim.pid}/fd`).length;
  const idle = descriptors();
  const round = async (count: number) => {
    for (let i = 0; i < count; i += 50)
      await Promise.all(Array.from({ length: 50 }, () => pod.shim.exec(execScript(pod, leaving('echo x')))));
    await until(() => descriptors() === idle);
    return Number.parseInt(statusOf(pod.shim.pid, 'RssAnon'), 10);
  };
  // What 50 at once need depends on how many of them meet: a leak of 90 bytes an exec is more than that varies.
  const memory = await round(500);
  const memoryAfter = await round(1500);
  if (!sanitized) assert.ok(memoryAfter <= memory + 128, `${memory} kB, then ${memoryAfter} kB`);
});
