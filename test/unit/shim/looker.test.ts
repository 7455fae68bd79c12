import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Looker } from '../../../src/shim/index.ts';
import { processesNamed, stateOf } from '../../harness/hung.ts';
import { patienceMs } from '../../harness/look.ts';
import { until } from '../../harness/pods.ts';

const folder = mkdtempSync(join(tmpdir(), 'berth-looker-'));
after(() => rmSync(folder, { recursive: true }));
process.umask(0o077);

const looker = new Looker(patienceMs);
after(() => looker[Symbol.dispose]());
const modeOf = (path: string): string => (statSync(path).mode & 0o7777).toString(8);
/** Those that are there beside the one that all tests share. */
const processes = async (shared: Looker): Promise<number[]> => {
  await shared.stat('/');
  return processesNamed('berth-look', process.pid).map(({ pid }) => pid);
};

test('where a path leads', async () => {
  mkdirSync(join(folder, 'real/sub'), { recursive: true });
  symlinkSync('real', join(folder, 'link'));
  symlinkSync('loop', join(folder, 'loop'));
  assert.equal(await looker.resolve(join(folder, 'link//sub/../sub/')), join(folder, 'real/sub'));
  await assert.rejects(looker.resolve(join(folder, 'none')), { code: 'ENOENT' });
  await assert.rejects(looker.resolve(join(folder, 'loop')), { code: 'ELOOP' });
  await assert.rejects(looker.resolve(`/${'x'.repeat(5000)}`), { code: 'ENAMETOOLONG' });
  await assert.rejects(looker.resolve(`/${'x'.repeat(300)}`), { code: 'ENAMETOOLONG' });
  assert.equal(await looker.readLink(join(folder, 'link')), 'real');
  assert.equal(await looker.readLink(join(folder, 'real')), null);
  assert.equal(await looker.readLink(join(folder, 'none/x')), null);
});

test('what is there', async () => {
  const file = join(folder, 'facts');
  writeFileSync(file, '');
  chmodSync(file, 0o4755);
  const { uid, gid } = statSync(file);
  assert.deepEqual(await looker.stat(file), { kind: 'file', mode: 0o755, uid, gid, major: 0, minor: 0 });
  const device = await looker.stat('/dev/zero');
  assert.deepEqual([device?.kind, device?.major, device?.minor], ['character', 1, 5]);
  assert.equal(await looker.stat(join(file, 'x')), null);
  assert.equal(await looker.fileSystem('/proc'), 0x9fa0);
});

test('a directory, sorted, within its bound', async () => {
  const place = join(folder, 'listed');
  mkdirSync(join(place, 'b'), { recursive: true });
  for (const name of ['c', 'a', 'z'.repeat(255)]) writeFileSync(join(place, name), '');
  writeFileSync(Buffer.concat([Buffer.from(`${place}/`), Buffer.from([0xff, 0xfe])]), '');
  symlinkSync('nowhere', join(place, 'd'));
  const found = (await looker.list(place, 6))!;
  const shown = found.map(([name, { kind }]) => `${name.slice(0, 1)} ${kind}`);
  assert.deepEqual(shown, ['a file', 'b directory', 'c file', 'd link', 'z file']);
  await assert.rejects(looker.list(place, 5), { kind: 'ResourceExhausted', message: /has more than 5 names/ });
  assert.deepEqual(await looker.list(join(folder, 'none'), 5), null);
  mkdirSync(join(place, 'b/many'));
  for (let i = 0; i < 3000; i++) writeFileSync(join(place, 'b/many', `${i}`.padStart(200, '0')), '');
  assert.equal((await looker.list(join(place, 'b/many'), 3000))?.at(-1)?.[0], '2999'.padStart(200, '0'));
});

test('what is in a folder of a process that has ended is nothing', async () => {
  const script = 'sleep 1000 & echo $!; exec sleep 1000';
  const parent = spawn('sh', ['-c', script], { stdio: ['ignore', 'pipe', 'ignore'] });
  try {
    const [line] = await once(parent.stdout, 'data');
    const ended = Number(line);
    // A shell would reap it; sleep never does.
    const program = () => readFileSync(`/proc/${parent.pid}/comm`, 'utf8');
    await until('its parent is no shell', async () => program() === 'sleep\n');
    process.kill(ended, 'SIGKILL');
    await until('the process has ended', async () => stateOf(ended) === 'Z');
    assert.equal(await looker.list(`/proc/${ended}/net`, 100), null);
  } finally {
    parent.kill();
  }
});

test('a file, within its bound; what is none is not opened', async () => {
  const file = join(folder, 'text');
  for (const size of [0, 1, 65_535, 65_536, 65_537, 1_000_000]) {
    writeFileSync(file, 'x'.repeat(size));
    assert.equal((await looker.readText(file, size)).length, size);
    if (size > 0) await assert.rejects(looker.readText(file, size - 1), { kind: 'ResourceExhausted' });
  }
  truncateSync(file, 2 ** 40);
  await assert.rejects(looker.readText(file, 8 << 20), { kind: 'ResourceExhausted' });
  execFileSync('/usr/bin/mkfifo', [join(folder, 'fifo')]);
  for (const path of [join(folder, 'fifo'), folder, '/dev/zero']) {
    await assert.rejects(looker.readText(path, 10), { kind: 'FailedPrecondition', message: /is no regular file/ });
  }
  assert.match(await looker.readText('/proc/self/status', 1 << 20), /^Name:\tberth-look/);
  await assert.rejects(looker.readText('/proc/self/status', 100), { kind: 'ResourceExhausted' });
  await assert.rejects(looker.readText(join(folder, 'none'), 10), { code: 'ENOENT' });
});

test('directories are made with their mode, whatever the umask; what is there stays as it is', async () => {
  const top = join(folder, 'made');
  mkdirSync(top);
  await looker.makePath(`${top}//a/./b///c/`, 0o755);
  for (const path of ['a', 'a/b', 'a/b/c']) assert.equal(modeOf(join(top, path)), '755', path);
  assert.equal(modeOf(top), '700');
  await looker.makePath(join(top, 'a/b'), 0o700);
  assert.equal(modeOf(join(top, 'a/b')), '755');
  await looker.makePath('/', 0o700);
  writeFileSync(join(top, 'file'), '');
  await assert.rejects(looker.makePath(join(top, 'file'), 0o755), { code: 'EEXIST' });
  await assert.rejects(looker.makePath(join(top, 'file/x'), 0o755), { code: 'ENOTDIR' });
  symlinkSync('a', join(top, 'link'));
  await looker.makePath(join(top, 'link/d'), 0o755);
  assert.ok(existsSync(join(top, 'a/d')));
});

test('below a top no link is followed', async () => {
  const top = join(folder, 'below');
  mkdirSync(join(top, 'a'), { recursive: true });
  symlinkSync(top, join(folder, 'to-below'));
  symlinkSync('a', join(top, 'link'));
  await looker.makeBelow(join(folder, 'to-below'), 'a/b/c', 0o755);
  assert.equal(modeOf(join(top, 'a/b/c')), '755');
  for (const path of ['link', 'link/x', 'a/../link/y']) {
    await assert.rejects(looker.makeBelow(top, path, 0o755), (error: { code: string }) =>
      ['ELOOP', 'ENOTDIR', 'EINVAL'].includes(error.code),
    );
  }
  for (const path of ['', '..', 'a//b', '.']) {
    await assert.rejects(looker.makeBelow(top, path, 0o755), { code: 'EINVAL' }, path);
  }
  assert.equal(existsSync(join(top, 'a/x')), false);
});

test('many at once are answered in their order', async () => {
  const asked = Array.from({ length: 500 }, (_, i) =>
    i % 2 ? looker.resolve('/') : looker.readText('/etc/passwd', 1 << 20),
  );
  const answers = await Promise.all(asked);
  const passwd = readFileSync('/etc/passwd', 'utf8');
  assert.ok(answers.every((answer, i) => answer === (i % 2 ? '/' : passwd)));
});

test('silence has an end, which names the path, and for all that was asked', async () => {
  const before = await processes(looker);
  using silent = new Looker(500);
  await silent.stat('/');
  const [pid] = (await processes(looker)).filter((each) => !before.includes(each));
  process.kill(pid!, 'SIGSTOP');
  const message = 'Looking at host path "/first" did not finish in 0.5 s: is the file server that holds it alive?';
  const expected = { kind: 'DeadlineExceeded', message };
  const calls = [silent.stat('/first'), silent.readText('/second', 1)];
  for (const call of calls) await assert.rejects(call, expected);
  await assert.rejects(silent.makePath('/third', 0o755), expected);
  await until('its end', async () => !(await processes(looker)).includes(pid!));
});

test('one that is lost is no answer', async () => {
  const before = await processes(looker);
  using lost = new Looker(patienceMs);
  await lost.stat('/');
  const [pid] = (await processes(looker)).filter((each) => !before.includes(each));
  process.kill(pid!, 'SIGSTOP');
  const call = lost.stat('/');
  process.kill(pid!, 'SIGKILL');
  await assert.rejects(call, { kind: 'Unavailable' });
});

test('it is started when it is needed, and ends with its scope', async () => {
  const before = await processes(looker);
  const fresh = async () => (await processes(looker)).filter((each) => !before.includes(each)); // those of before may end meanwhile
  {
    using idle = new Looker(patienceMs);
    assert.deepEqual(await fresh(), []);
    await idle.stat('/');
    assert.equal((await fresh()).length, 1);
  }
  await until('its end', async () => (await fresh()).length === 0);
});

test('one that hangs does not outlive a daemon that is killed', async () => {
  const module = join(import.meta.dirname, '../../../src/shim/index.ts');
  const text = `const { Looker } = await import(${JSON.stringify(module)});
    const looker = new Looker(60_000);
    await looker.stat('/');
    process.stdout.write('up');
    setInterval(() => {}, 1000);`;
  const args = ['--input-type=module', '-e', text];
  const daemon = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(daemon.stdout, 'data');
  const [found] = processesNamed('berth-look', daemon.pid!);
  process.kill(found!.pid, 'SIGSTOP');
  const ended = once(daemon, 'exit');
  daemon.kill('SIGKILL');
  await ended;
  await until('its end', async () => [null, 'Z'].includes(stateOf(found!.pid)));
});
