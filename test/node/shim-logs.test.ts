// A log that cannot be written: what is lost is counted and told, what is there is whole, and the writer goes on.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  closeSync,
  constants,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { ownHost } from '../harness/own-host.ts';
import { readLog, startPod, startScript, type TestPod, until } from './shim-support.ts';

await ownHost();

const key = 'c1';
const piece = 16384;
/** Of the records of stdout before their text, and of what follows it. */
const headBytes = 40;

/** A process that writes what the test gives it, and the log that the shim keeps of it. */
class Writer {
  readonly pod: TestPod;
  readonly logPath: string;
  #fifo = -1;

  constructor(pod: TestPod, logPath: string) {
    this.pod = pod;
    this.logPath = logPath;
  }

  static async start(pod: TestPod, logPath: string): Promise<Writer> {
    const writer = new Writer(pod, logPath);
    const fifo = join(pod.dir, 'fifo');
    execFileSync('/usr/bin/mkfifo', [fifo]);
    writer.#fifo = openSync(fifo, constants.O_RDWR); // else both ends would wait for each other
    const text = `sh -c 'exec cat <${fifo}' & echo $! >$1`;
    const { pid } = await pod.shim.start(startScript(pod, key, text, { logPath }));
    assert.notEqual(pid, 0);
    await until(() => readFileSync(`/proc/${pid}/cmdline`, 'utf8').startsWith('cat'));
    return writer;
  }

  write(text: string): void {
    for (let rest = Buffer.from(text); rest.length > 0; ) rest = rest.subarray(writeSync(this.#fifo, rest));
  }

  async lost() {
    const { processes } = await this.pod.shim.list();
    return processes.find((process) => process.key === key)!.lost;
  }

  /** Resolves when of so many lines each is whole in the log or lost. */
  async arrived(lines: number): Promise<void> {
    await until(async () => (await this.lost()).lines + linesOf(this.logPath).whole.length >= lines);
  }

  async end(): Promise<void> {
    closeSync(this.#fifo);
    assert.equal((await this.pod.exited(key)).code, 0);
  }
}

/** Lines as a reader joins them: those that are what was written, and those that are the begin of it. */
function linesOf(path: string, written: ReadonlySet<string> | null = null) {
  const whole: string[] = [];
  const cut: string[] = [];
  let open = '';
  for (const record of readFileSync(path, 'latin1').split('\n').slice(0, -1)) {
    const match = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z stdout ([PF]) (.*)$/s.exec(record);
    if (!match) continue; // half a one, which readLog refuses in the end
    open += match[2];
    if (match[1] === 'P') continue;
    (written?.has(open) === false ? cut : whole).push(open);
    open = '';
  }
  return { whole, cut };
}

/** A small disk for the log; `fill` takes its last byte. */
async function smallDisk(t: TestContext, size: string) {
  const folder = await mkdtemp(join(tmpdir(), 'shim-disk-'));
  execFileSync('/bin/mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'tmpfs', folder]);
  t.after(async () => {
    execFileSync('/bin/umount', ['-l', folder]); // the shim ends after this: the log may still be open
    await rm(folder, { recursive: true });
  });
  const filler = join(folder, 'filler');
  const fill = () => {
    for (let bytes = 1 << 16; bytes > 0; ) {
      try {
        appendFileSync(filler, Buffer.alloc(bytes));
      } catch {
        bytes >>= 1;
      }
    }
  };
  return { folder, fill, free: () => rmSync(filler, { force: true }) };
}

const numbered = (first: number, count: number) => Array.from({ length: count }, (_, i) => `line ${first + i}`);
const ended = (lines: readonly string[]) => lines.map((line) => `${line}\n`).join('');

test('a disk that is full now and then: lines are there or counted, the counts are told, and none is torn', async (t) => {
  const pod = await startPod(t);
  const disk = await smallDisk(t, '256K');
  const writer = await Writer.start(pod, join(disk.folder, 'log'));
  const begin = performance.now();
  let count = 0;
  for (let round = 0; round < 6; round++) {
    if (round % 2 === 1) disk.fill();
    writer.write(ended(numbered(count, 3000)));
    count += 3000;
    await writer.arrived(count);
    disk.free();
    if (round === 2) {
      rmSync(writer.logPath); // as kubelet does when it rotates
      await pod.shim.reopenLog(key, 10_000);
      count = 0;
      break;
    }
  }
  const before = await writer.lost();
  assert.ok(before.lines > 1000);
  disk.fill();
  writer.write(ended(numbered(0, 3000)));
  await until(async () => (await writer.lost()).lines + linesOf(writer.logPath).whole.length === before.lines + 3000);
  disk.free();
  writer.write(ended(numbered(3000, 100)));
  await writer.end();
  const records = await readLog(writer.logPath);
  assert.ok(records.every(({ tag }) => tag === 'F'));
  const numbers = records.map(({ text }) => Number(text.slice(5)));
  assert.ok(
    numbers.every((number, i) => i === 0 || number > numbers[i - 1]!),
    'none is doubled, all are in order',
  );
  assert.deepEqual(
    numbers.slice(-100),
    Array.from({ length: 100 }, (_, i) => 3000 + i),
  );
  const lost = await writer.lost();
  assert.equal(lost.lines - before.lines, 3100 - records.length);
  assert.equal(lost.error, 'ENOSPC');
  const { losses } = pod;
  assert.deepEqual(losses.at(-1), { key, loss: lost, exitsBefore: 0 }, 'all of it is told before the exit');
  assert.ok(losses.every(({ loss }, i) => i === 0 || loss.lines > losses[i - 1]!.loss.lines));
  assert.ok(losses.length <= (performance.now() - begin) / 1000 + 3, `${losses.length} events`);
});

test('what is lost is told while the container runs, also to who comes later', async (t) => {
  const pod = await startPod(t);
  const disk = await smallDisk(t, '64K');
  const writer = await Writer.start(pod, join(disk.folder, 'log'));
  disk.fill();
  writer.write('nobody reads this\n');
  await until(() => pod.losses.length > 0);
  assert.equal(pod.exits.length, 0);
  const bytes = headBytes + 'nobody reads this\n'.length;
  assert.deepEqual(pod.losses[0]!.loss, { bytes, lines: 1, error: 'ENOSPC' });
  assert.deepEqual(await writer.lost(), pod.losses[0]!.loss);
  await writer.end();
  assert.equal(pod.losses.length, 1, 'nothing new is told again');
});

test('a line that nothing ended and that is lost is one line', async (t) => {
  const pod = await startPod(t);
  const disk = await smallDisk(t, '64K');
  const writer = await Writer.start(pod, join(disk.folder, 'log'));
  disk.fill();
  writer.write('no end');
  await writer.end();
  assert.deepEqual(pod.losses.at(-1)?.loss, { bytes: headBytes + 'no end\n'.length, lines: 1, error: 'ENOSPC' });
});

/** The soft limit of the size of the shim's files: a write goes in up to that byte, and the next one fails with EFBIG. */
const limitFiles = (pod: TestPod, bytes: number | 'unlimited') =>
  execFileSync('/usr/bin/prlimit', ['--pid', `${pod.shim.pid}`, `--fsize=${bytes}:unlimited`]);

test('a write that stops at any byte of a line leaves no part of it', async (t) => {
  const pod = await startPod(t);
  const writer = await Writer.start(pod, join(pod.dir, 'log'));
  const kept = ended(numbered(0, 5));
  writer.write(kept);
  await writer.arrived(5);
  const expected = numbered(0, 5);
  const record = headBytes + 'torn\n'.length;
  for (let byte = 0; byte <= 2 * record; byte++) {
    const size = statSync(writer.logPath).size;
    limitFiles(pod, size + byte);
    const before = (await writer.lost()).lines;
    writer.write('torn\ntorn\n');
    const fit = Math.floor(byte / record);
    await until(
      async () => (await writer.lost()).lines - before + linesOf(writer.logPath).whole.length - expected.length === 2,
    );
    assert.equal((await writer.lost()).lines - before, 2 - fit, `cut at byte ${byte}`);
    assert.equal(statSync(writer.logPath).size, size + fit * record);
    limitFiles(pod, 'unlimited');
    writer.write(`after ${byte}\n`);
    expected.push(...Array.from({ length: fit }, () => 'torn'), `after ${byte}`);
    await until(() => linesOf(writer.logPath).whole.length === expected.length);
  }
  await writer.end();
  assert.deepEqual(
    (await readLog(writer.logPath)).map(({ tag, text }) => `${tag} ${text}`),
    expected.map((text) => `F ${text}`),
  );
});

test('a long line that is lost in part is ended, and is no part of the next one', async (t) => {
  const pod = await startPod(t);
  const writer = await Writer.start(pod, join(pod.dir, 'log'));
  const long = (letter: string, pieces: number) => letter.repeat(Math.floor(pieces * piece));
  const written: string[] = [];
  const say = (...lines: string[]) => {
    written.push(...lines);
    writer.write(ended(lines));
  };
  const settled = async () => {
    const { whole } = linesOf(writer.logPath, new Set(written));
    return whole.length + (await writer.lost()).lines === written.length;
  };
  let letter = 0;
  const next = () => String.fromCharCode(97 + (letter++ % 26)) + letter;
  for (const pieces of [0.5, 1, 1.5, 2, 2.5, 5, 9]) {
    for (const room of [0, 30, 100, piece + 10, piece + 200, 2 * piece + 300, 4 * piece]) {
      limitFiles(pod, statSync(writer.logPath, { throwIfNoEntry: false })!.size + room);
      say(long(next(), pieces), next(), long(next(), pieces), next());
      await until(settled);
      limitFiles(pod, 'unlimited');
      say(next(), long(next(), 3));
      await until(settled);
    }
  }
  // A line that is begun while there is room, and ended when there is none, and the other way round.
  for (const [first, second] of [
    ['unlimited', 0],
    [0, 'unlimited'],
  ] as const) {
    const size = statSync(writer.logPath).size;
    const begun = long(next(), 4);
    limitFiles(pod, first === 'unlimited' ? first : size);
    writer.write(begun);
    if (first === 'unlimited') await until(() => statSync(writer.logPath).size >= size + 3 * piece);
    else await until(async () => (await writer.lost()).bytes >= 3 * piece && pod.losses.length > 0);
    limitFiles(pod, second === 'unlimited' ? second : statSync(writer.logPath).size);
    written.push(`${begun}end`);
    writer.write('end\n');
    await until(settled);
    limitFiles(pod, 'unlimited');
    say(next());
    await until(settled);
  }
  await writer.end();
  await readLog(writer.logPath); // every record is one
  const { whole, cut } = linesOf(writer.logPath, new Set(written));
  const { lines, error } = await writer.lost();
  assert.equal(error, 'EFBIG');
  assert.equal(whole.length + lines, written.length);
  assert.deepEqual(
    whole,
    written.filter((line) => whole.includes(line)),
    'in order, none doubled',
  );
  assert.ok(cut.length > 0 && cut.length <= lines);
  for (const line of cut)
    assert.ok(
      written.some((one) => one.startsWith(line) && line.length % piece === 0),
      line.slice(0, 40),
    );
});

/** A log whose last line is half there, and cannot be cut. */
async function halfWritten(t: TestContext) {
  const pod = await startPod(t, { complains: /^berth-shim: cannot take back half a line of [^\n]*$/ });
  const disk = await smallDisk(t, '64K');
  const writer = await Writer.start(pod, join(disk.folder, 'log'));
  writer.write('first\n');
  await writer.arrived(1);
  execFileSync('/usr/bin/chattr', ['+a', writer.logPath]); // it can be written to, and not be cut
  limitFiles(pod, statSync(writer.logPath).size + 20);
  writer.write('second\n');
  await until(async () => (await writer.lost()).lines === 1);
  assert.equal(readFileSync(writer.logPath, 'latin1').endsWith('\n'), false, 'half of it is there');
  limitFiles(pod, 'unlimited');
  return { pod, writer };
}

test('half a line is taken back before the log is opened anew: nobody would do so later', async (t) => {
  const { pod, writer } = await halfWritten(t);
  execFileSync('/usr/bin/chattr', ['-a', writer.logPath]);
  const rotated = `${writer.logPath}.1`;
  renameSync(writer.logPath, rotated);
  await pod.shim.reopenLog(key, 10_000);
  writer.write('third\n');
  await writer.end();
  const [before, after] = [await readLog(rotated), await readLog(writer.logPath)];
  assert.deepEqual(
    [before, after].map((lines) => lines.map(({ tag, text }) => `${tag} ${text}`)),
    [['F first'], ['F third']],
  );
});

test('half a line that cannot be taken back at once is taken back before anything follows it', async (t) => {
  const { writer } = await halfWritten(t);
  writer.write('third\n'); // still not to be cut: it is lost rather than part of another line
  await until(async () => (await writer.lost()).lines === 2);
  assert.equal((await writer.lost()).error, 'EPERM');
  execFileSync('/usr/bin/chattr', ['-a', writer.logPath]);
  writer.write('fourth\n');
  await writer.end();
  assert.deepEqual(
    (await readLog(writer.logPath)).map(({ tag, text }) => `${tag} ${text}`),
    ['F first', 'F fourth'],
  );
});
