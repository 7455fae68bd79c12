// Commands, connections and shutdown, on a real shim.
import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { isFault } from '../../src/base/fault.ts';
import { encode } from '../../src/shim/codec.ts';
import { connectShim, startShim } from '../../src/shim/index.ts';
import { ownHost } from '../harness/own-host.ts';
import { alive, env, sanitized, script, startPod, startScript, statusOf, textOf, until } from './shim-support.ts';

await ownHost();

const nobody = { onExit() {}, onLost() {} };

test('a command gives its output, its exit code and the signal that ended it', async (t) => {
  const { shim } = await startPod(t);
  assert.deepEqual(textOf(await shim.run(script('echo out; echo err >&2; exit 7'))), {
    code: 7,
    stdout: 'out\n',
    stderr: 'err\n',
  });
  const killed = await shim.run(script('kill -TERM $$'));
  assert.deepEqual([killed.code, killed.signal, killed.timedOut], [143, 15, false]);
});

test('a command gets the environment, folder, input and descriptors that it was given, and no others', async (t) => {
  const { shim, dir } = await startPod(t);
  const printed = await shim.run({ argv: ['/usr/bin/env'], env: ['A=b c', 'D='], cwd: '/', deadlineMs: 10_000 });
  assert.equal(printed.stdout.toString(), 'A=b c\nD=\n');
  assert.equal((await shim.run(script('pwd', { cwd: dir }))).stdout.toString(), `${dir}\n`);
  const input = randomBytes(3 * 1024 * 1024);
  const echoed = await shim.run({
    argv: ['/bin/cat'],
    env,
    cwd: '/',
    deadlineMs: 30_000,
    stdin: input,
    maxOutput: 2 ** 24,
  });
  assert.ok(echoed.stdout.equals(input));
  assert.equal((await shim.run(script('cat | wc -c'))).stdout.toString(), '0\n');
  const seen = await shim.run({ argv: ['/bin/ls', '/proc/self/fd'], env, cwd: '/', deadlineMs: 10_000 });
  assert.equal(seen.stdout.toString(), '0\n1\n2\n3\n'); // 3 is the folder that ls reads
  const masks = await shim.run(script('grep -E "^Sig(Blk|Ign)" /proc/self/status; umask'));
  assert.match(masks.stdout.toString(), /SigBlk:\t0+\nSigIgn:\t0+\n0022/);
});

test('how the shim is tuned is not how its commands run: each has a session and the usual share of the host', async (t) => {
  const { shim } = await startPod(t);
  const own =
    'read -r _ _ _ _ _ session _ </proc/self/stat; nice; awk "/^Cpus_allowed:/ { print \\$2 }" /proc/self/status';
  const usual = await shim.run(script(`${own}; [ "$session" = $$ ] && echo its own`));
  const [nice, processors, session] = usual.stdout.toString().split('\n');
  assert.deepEqual([nice, session], ['0', 'its own']);
  execFileSync('/usr/bin/renice', ['-n', '5', '-p', `${shim.pid}`], { stdio: 'ignore' });
  execFileSync('/usr/bin/taskset', ['-p', '-c', '0', `${shim.pid}`], { stdio: 'ignore' });
  const tuned = await shim.run(script(own));
  assert.deepEqual(tuned.stdout.toString().split('\n').slice(0, 2), ['0', processors]);
});

test('a command that cannot be executed is a failure that names it', async (t) => {
  const { shim } = await startPod(t);
  const cases = [
    { argv: ['/no/such'], cwd: '/', kind: 'FailedPrecondition', text: /run \/no\/such: ENOENT/ },
    { argv: ['/etc/passwd'], cwd: '/', kind: 'PermissionDenied', text: /EACCES/ },
    { argv: ['/bin/true'], cwd: '/no/such', kind: 'FailedPrecondition', text: /ENOENT/ },
    { argv: ['true'], cwd: '/', kind: 'Internal', text: /EINVAL/ },
    { argv: [], cwd: '/', kind: 'Internal', text: /EINVAL/ },
  ] as const;
  for (const { argv, cwd, kind, text } of cases) {
    const run = shim.run({ argv, env, cwd, deadlineMs: 10_000 });
    await assert.rejects(run, (error) => isFault(error, kind) && text.test(error.message), argv[0]);
  }
  await assert.rejects(shim.run(script('true', { deadlineMs: 0 })), (error) => isFault(error, 'InvalidArgument'));
});

test('at the deadline everything that the command started is killed, however it hides', async (t) => {
  const { shim, dir } = await startPod(t);
  const pids = join(dir, 'pids');
  const hidden = [
    'sleep 1001 & echo $! >> $P', // a child
    'setsid sh -c "echo \\$\\$ >> $P; exec sleep 1002" &', // in a session of its own
    '(setsid sh -c "setsid sleep 1003 & echo \\$! >> $P" &)', // abandoned by two generations
    'sh -c "trap : TERM INT HUP; echo \\$\\$ >> $P; while :; do sleep 1004; done" &', // deaf
    'sh -c "echo \\$\\$ >> $P; kill -STOP \\$\\$" &', // stopped
  ];
  const result = await shim.run(
    script(`${hidden.join('\n')}\necho $$ >> $P; wait; sleep 1005`, { env: [...env, `P=${pids}`], deadlineMs: 1000 }),
  );
  assert.deepEqual([result.code, result.signal, result.timedOut], [137, 9, true]);
  const started = readFileSync(pids, 'utf8').trim().split('\n').map(Number);
  assert.equal(started.length, 6);
  await until(() => !started.some(alive)); // those not ours to reap take a moment to vanish
});

test('output that a grandchild keeps open is drained for a bounded time', async (t) => {
  const { shim, dir } = await startPod(t);
  const file = join(dir, 'pid');
  const result = await shim.run(script(`sleep 1006 & echo $! > ${file}; echo said`));
  assert.deepEqual([result.stdout.toString(), result.timedOut], ['said\n', false]);
  const grandchild = Number(readFileSync(file, 'utf8'));
  process.kill(grandchild, 'SIGKILL');
  await until(() => !alive(grandchild));
});

test('1 GiB of output costs the shim what it keeps, and no more', { skip: sanitized }, async (t) => {
  const { shim } = await startPod(t);
  const command = { argv: ['/usr/bin/head', '-c', '1G', '/dev/zero'], env, cwd: '/', deadlineMs: 120_000 };
  const result = await shim.run({ ...command, maxOutput: 2 ** 30 });
  assert.deepEqual([result.code, result.truncated, result.stdout.length], [0, true, 16 * 1024 * 1024]);
  assert.ok(Number.parseInt(statusOf(shim.pid, 'VmHWM'), 10) < 80 * 1024, statusOf(shim.pid, 'VmHWM'));
  await until(() => Number.parseInt(statusOf(shim.pid, 'VmRSS'), 10) < 2 * 1024);
});

test('output as long as what is kept is whole, and what was told is free for what follows', async (t) => {
  const { shim } = await startPod(t);
  const most = 16 * 1024 * 1024;
  const command = { argv: ['/usr/bin/head', '-c', `${most}`, '/dev/zero'], env, cwd: '/', deadlineMs: 60_000 };
  for (let rounds = 0; rounds < 6; rounds++) {
    const { truncated, stdout } = await shim.run({ ...command, maxOutput: most });
    assert.deepEqual([truncated, stdout.length], [false, most]);
  }
});

test('an abort kills the command and rejects with its reason', async (t) => {
  const { shim, dir } = await startPod(t);
  const file = join(dir, 'pid');
  const abort = new AbortController();
  const run = shim.run(script(`echo $$ > ${file}; exec sleep 1007`), abort.signal);
  const reason = new Error('the client left');
  const rejected = assert.rejects(run, reason);
  await until(() => statSync(file, { throwIfNoEntry: false })?.size !== undefined && readFileSync(file, 'utf8') !== '');
  abort.abort(reason);
  await rejected;
  assert.equal(alive(Number(readFileSync(file, 'utf8'))), false);
  await assert.rejects(shim.run(script('true'), AbortSignal.abort(reason)), reason);
});

test('each of two commands has its own deadline, whichever began first', async (t) => {
  const { shim } = await startPod(t);
  const abort = new AbortController();
  const timed = (deadlineMs: number, name: string) =>
    shim.run(script('sleep 1006', { deadlineMs }), abort.signal).then(({ timedOut }) => [name, timedOut]);
  const [before, short, after] = [timed(20_000, 'before'), timed(200, 'short'), timed(20_000, 'after')];
  assert.deepEqual(await Promise.race([before, short, after]), ['short', true]);
  abort.abort();
  for (const long of [before, after]) await assert.rejects(long);
});

test('a command is cancelled by who asked for it, and by nobody else', async (t) => {
  const { shim, dir } = await startPod(t);
  const go = join(dir, 'go');
  const running = shim.run(script(`until [ -e ${go} ]; do sleep 0.01; done; echo done`));
  const socket = connect(join(dir, 'shim.sock'));
  const cancels = Array.from({ length: 50 }, (_, request) => encode('cancel', 1000 + request, { request }));
  socket.write(Buffer.concat(cancels));
  const answers = cancels.length * encode('done', 1, {}).length;
  for (let got = 0; got < answers; got += ((await once(socket, 'data')) as [Buffer])[0].length);
  socket.destroy();
  writeFileSync(go, '');
  assert.deepEqual(textOf(await running), { code: 0, stdout: 'done\n', stderr: '' });
});

test('many commands at once each get their own output', async (t) => {
  const { shim } = await startPod(t);
  const all = Array.from({ length: 100 }, (_, i) => shim.run(script(`echo ${i}; exit ${i}`)));
  const results = await Promise.all(all);
  assert.deepEqual(
    results.map(textOf),
    results.map((_, i) => ({ code: i, stdout: `${i}\n`, stderr: '' })),
  );
});

test('it ignores the signals that end other programs, and its socket is for root only', async (t) => {
  const { shim, dir } = await startPod(t);
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGPIPE'] as const) process.kill(shim.pid, signal);
  assert.equal((await shim.run(script('true'))).code, 0);
  assert.equal(statSync(join(dir, 'shim.sock')).mode & 0o777, 0o600);
});

test('who is not root is turned away, also where a socket is open to all', async (t) => {
  const { shim, dir } = await startPod(t);
  const path = join(dir, 'shim.sock');
  chmodSync(dir, 0o755);
  chmodSync(path, 0o666);
  const asked = `const socket = require('node:net').connect(${JSON.stringify(path)});
    socket.write(Buffer.from(${JSON.stringify(encode('list', 1, {}).toString('hex'))}, 'hex'));
    socket.once('data', () => { console.log('answered'); socket.destroy(); });
    socket.once('error', () => {}).once('close', () => console.log('closed'));`;
  const ask = (uid: number) => execFileSync(process.execPath, ['-e', asked], { uid, encoding: 'utf8', cwd: '/' });
  assert.equal(ask(65534), 'closed\n');
  assert.equal(ask(0), 'answered\nclosed\n');
  assert.equal((await shim.run(script('true'))).code, 0);
});

test('a connection that speaks another language ends, and the others go on', async (t) => {
  const { shim, dir } = await startPod(t);
  const garbage = [
    Buffer.from('GET / HTTP/1.1\r\n\r\n'),
    Buffer.from('0500000000', 'hex'),
    Buffer.from('ffffffff00000000', 'hex'),
    Buffer.from('01004000', 'hex'), // one byte more than a frame may have
  ];
  for (const bytes of garbage) {
    const socket = connect(join(dir, 'shim.sock'));
    const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
    socket.on('error', () => {}).resume();
    socket.write(bytes);
    await closed;
  }
  assert.equal((await shim.run(script('true'))).code, 0);
});

test('a frame that does not parse, and one that it does not know, are answered with a failure', async (t) => {
  const { dir } = await startPod(t);
  const socket: Socket = connect(join(dir, 'shim.sock'));
  socket.write(Buffer.from('0a0000000a0001000000ffffffff' + '06000000ff7f02000000', 'hex'));
  const chunks: Buffer[] = [];
  for await (const chunk of socket) {
    chunks.push(chunk);
    if (Buffer.concat(chunks).includes('does not know')) break;
  }
  assert.match(Buffer.concat(chunks).toString('latin1'), /read the fields of forget/);
});

test('a client that takes no answers is asked no more, and costs the shim next to nothing', {
  skip: sanitized,
}, async (t) => {
  const pod = await startPod(t);
  const socket = connect(join(pod.dir, 'shim.sock')).pause();
  const requests = 150_000;
  const frame = encode('cancel', 1, { request: 7 }); // answered by ten bytes
  socket.write(Buffer.concat(Array.from({ length: requests }, () => frame)));
  for (let i = 0; i < 1000; i++) await pod.shim.list(); // a read of that socket each, if it is read
  assert.ok(Number.parseInt(statusOf(pod.shim.pid, 'RssAnon'), 10) < 12_000, statusOf(pod.shim.pid, 'RssAnon'));
  let answered = 0;
  for await (const chunk of socket) {
    answered += chunk.length;
    if (answered === 10 * requests) break;
  }
});

test('what a connection started outlives it, and a second shim for the same folder does not start', async (t) => {
  const pod = await startPod(t);
  const file = join(pod.dir, 'done');
  const other = (await connectShim(pod.dir, nobody))!;
  const abandoned = other.run(script(`until [ -e ${file}.go ]; do sleep 0.01; done; touch ${file}`));
  await until(() => readFileSync(`/proc/${pod.shim.pid}/task/${pod.shim.pid}/children`, 'utf8') !== '');
  other.close();
  await assert.rejects(abandoned, (error) => isFault(error, 'Unavailable'));
  writeFileSync(`${file}.go`, '');
  await until(() => statSync(file, { throwIfNoEntry: false }) !== undefined);
  await assert.rejects(startShim(pod.dir, nobody), /EADDRINUSE/);
  writeFileSync(join(pod.dir, 'shim.log'), ''); // where the second one said so
  assert.equal(await connectShim(join(pod.dir, 'none'), nobody), null);
});

test('shutdown refuses while a process runs, and kills it when forced', async (t) => {
  const pod = await startPod(t);
  const { pid } = await pod.shim.start(startScript(pod, 'c1', 'sleep 1008 & echo $! > $1'));
  await assert.rejects(pod.shim.shutdown(), (error) => isFault(error, 'FailedPrecondition'));
  await pod.shim.shutdown({ force: true });
  assert.equal(alive(pid), false);
  assert.equal(alive(pod.shim.pid), false);
  assert.equal(pod.exits[0]?.signal, 9);
  assert.equal(await connectShim(pod.dir, nobody), null);
});

test('nothing is begun any more once it is to end', async (t) => {
  const pod = await startPod(t);
  const file = join(pod.dir, 'begun');
  // It may read both before it ends, or be gone when the second is written: then the answer to the first is lost with it.
  const ended = pod.shim.shutdown({ force: true }).catch((error) => assert.ok(isFault(error, 'Unavailable'), error));
  await assert.rejects(pod.shim.run(script(`: > ${file}`)), /the shim is shutting down|The shim was lost/);
  await ended;
  await until(() => !alive(pod.shim.pid));
  assert.equal(existsSync(file), false);
});

test('a shim that is killed is noticed', async (t) => {
  const pod = await startPod(t);
  const run = pod.shim.run(script('exec sleep 1009'));
  const rejected = assert.rejects(run, (error) => isFault(error, 'Unavailable'));
  await until(() => readFileSync(`/proc/${pod.shim.pid}/task/${pod.shim.pid}/children`, 'utf8') !== '');
  const [child] = readFileSync(`/proc/${pod.shim.pid}/task/${pod.shim.pid}/children`, 'utf8').trim().split(' ');
  process.kill(pod.shim.pid, 'SIGKILL');
  await rejected;
  await pod.lost;
  assert.equal(await connectShim(pod.dir, nobody), null);
  process.kill(Number(child), 'SIGKILL');
  await until(() => !alive(Number(child)));
  await assert.rejects(pod.shim.list(), (error) => isFault(error, 'Unavailable'));
  const socket = join(pod.dir, 'shim.sock');
  assert.ok(statSync(socket));
  const again = await startShim(pod.dir, nobody); // a stale socket is in nobody's way
  await again.shutdown();
});

test('an idle connection does not keep the daemon running, and the shim stays when it ends', async (t) => {
  const pod = await startPod(t);
  const index = join(import.meta.dirname, '../../src/shim/index.ts');
  const text = `const { connectShim } = await import(${JSON.stringify(index)});
    await connectShim(${JSON.stringify(pod.dir)}, { onExit() {}, onLost() {} });`;
  await new Promise<void>((resolve, reject) => {
    execFile(process.execPath, ['--input-type=module', '-e', text], (error) => (error ? reject(error) : resolve()));
  });
  assert.equal((await pod.shim.run(script('true'))).code, 0);
});
