// The daemon's log, whatever its standard error is: nobody waits for it, and what it loses is told.
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, constants, fstatSync, mkdtempSync, openSync, readFileSync, readSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { LogOutput } from '../../../src/sys/log-output.ts';

const folder = mkdtempSync(join(tmpdir(), 'berth-log-'));
after(() => rmSync(folder, { recursive: true }));
let serial = 0;

const info = 30;
/** Of 1,000 bytes. */
const line = (number: number): string => `{"n":${number},"text":"`.padEnd(997, 'x').concat('"}\n');
type Document = { readonly n?: number; readonly level?: number; readonly lines?: number; readonly msg?: string };
/** Each line must be a document. */
const documents = (text: string): Document[] =>
  text
    .split('\n')
    .filter((each) => each !== '')
    .map((each) => JSON.parse(each));
const lostIn = (all: readonly Document[]): number => all.reduce((sum, { lines = 0 }) => sum + lines, 0);

/** Reads what comes until this many lines are there or told to be lost. */
function readUntil(fd: number, count: number): Document[] {
  const buffer = Buffer.alloc(1 << 16);
  for (let text = ''; ; ) {
    text += buffer.toString('latin1', 0, readSync(fd, buffer));
    if (!text.endsWith('\n')) continue;
    const all = documents(text);
    if (all.filter(({ n }) => n !== undefined).length + lostIn(all) >= count) return all;
  }
}

/** Both ends of a named pipe; who writes there waits, as in a shell's pipeline. */
function pipe(): { readonly reader: number; readonly writer: number } {
  const path = join(folder, `pipe-${serial++}`);
  execFileSync('mkfifo', [path]);
  const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  const writer = openSync(path, constants.O_WRONLY);
  closeSync(reader);
  return { reader: openSync(path, constants.O_RDONLY), writer };
}

test('a pipe has a line when the write returns: a crash right after loses nothing', () => {
  const { reader, writer } = pipe();
  const log = new LogOutput(writer);
  log.write(line(1), info);
  const read = Buffer.alloc(4096);
  assert.equal(read.toString('latin1', 0, readSync(reader, read)), line(1));
  assert.equal(fstatSync(writer).isFIFO(), true);
});

test('the pipe of others stays one whose writers wait', () => {
  const { writer } = pipe();
  new LogOutput(writer).write(line(1), info);
  const flags = Number.parseInt(/^flags:\s+(\d+)/m.exec(readFileSync(`/proc/self/fdinfo/${writer}`, 'utf8'))![1]!, 8);
  assert.equal(flags & constants.O_NONBLOCK, 0);
});

test('a reader that stands still keeps nobody waiting; what came meanwhile is there in its order, what was lost is told', () => {
  const { reader, writer } = pipe();
  const log = new LogOutput(writer);
  const count = 5000; // 5 MB
  const began = performance.now();
  for (let n = 0; n < count; n++) log.write(line(n), info);
  assert.ok(performance.now() - began < 2000);
  assert.equal(log.flush(50), false);
  const { lost } = log;
  assert.ok(lost > 1000 && lost < count, `${lost}`);
  const all = readUntil(reader, count);
  const numbers = all.flatMap(({ n }) => n ?? []);
  assert.deepEqual(
    numbers,
    numbers.map((_, index) => index),
    'none is out of its order, the last ones are lost',
  );
  assert.deepEqual([numbers.length + lost, lostIn(all), all.at(-1)!.level], [count, lost, 40]);
  assert.equal(log.flush(5000), true);
  log.write(line(0), info);
  assert.deepEqual(readUntil(reader, 1).at(-1)!.n, 0);
});

test('a reader that went: lines are lost and counted, and the next reader is told', () => {
  const path = join(folder, 'left');
  execFileSync('mkfifo', [path]);
  const first = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  const log = new LogOutput(openSync(path, constants.O_WRONLY));
  closeSync(first);
  for (let n = 0; n < 3; n++) log.write(line(n), info);
  assert.equal(log.flush(5000), true);
  assert.equal(log.lost, 3);
  const second = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  log.write(line(3), info);
  assert.equal(log.flush(5000), true);
  const read = Buffer.alloc(4096);
  const [told, next] = documents(read.toString('latin1', 0, readSync(second, read)));
  assert.deepEqual([told!.lines, next!.n], [3, 3]);
});

/** Runs a script in a Node of its own whose standard error is what a Python program gives it; what that prints. */
async function withError(python: string, script: string): Promise<string> {
  const module = join(import.meta.dirname, '../../../src/sys/log-output.ts');
  const source = `const { standardError } = await import(${JSON.stringify(module)}); const log = standardError(); ${script}`;
  const child: ChildProcess = spawn('/usr/bin/python3', ['-c', python, process.execPath, source], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let text = '';
  child.stdout!.setEncoding('utf8').on('data', (chunk) => {
    text += chunk;
  });
  const [code] = await once(child, 'close');
  assert.equal(code, 0);
  return text;
}

const floods =
  'for (let n = 0; n < 5000; n++) log.write(JSON.stringify({ n, x: "x".repeat(1000) }) + "\\n", 30); process.stdout.write("went on\\n"); process.exit(0)';
const run = 'node = [sys.argv[1], "--input-type=module", "-e", sys.argv[2]]';
const standing: Record<string, string> = {
  'a socket that nobody reads, as that of a journal which hangs': `
import socket, subprocess, sys
${run}
ours, its = socket.socketpair()
print(subprocess.run(node, stderr=its, stdout=subprocess.PIPE, timeout=60).stdout.decode(), end='')`,
  'a terminal that is stopped by ^S': `
import os, pty, subprocess, sys
${run}
ours, its = pty.openpty()
os.write(ours, b'\x13')
print(subprocess.run(node, stderr=its, stdout=subprocess.PIPE, timeout=60).stdout.decode(), end='')`,
  'a pipe that nobody reads': `
import os, subprocess, sys
${run}
ours, its = os.pipe()
print(subprocess.run(node, stderr=its, stdout=subprocess.PIPE, timeout=60).stdout.decode(), end='')`,
};
for (const [what, python] of Object.entries(standing)) {
  test(`${what}: the process goes on, and ends`, async () => {
    assert.equal(await withError(python, floods), 'went on\n');
  });
}

test("the journal's own stream has the priority of each line before it, others have nothing", async () => {
  const stream = `
import os, socket, subprocess, sys
${run}
ours, its = socket.socketpair()
st = os.fstat(its.fileno())
for named in ('%d:%d' % (st.st_dev, st.st_ino), '1:1'):
    subprocess.run(node, stderr=its, env={**os.environ, 'JOURNAL_STREAM': named}, timeout=60, check=True)
    print(ours.recv(4096).decode(), end='')`;
  const script = 'for (const level of [20, 30, 40, 50]) log.write("{}\\n", level); process.exit(0)';
  assert.equal(await withError(stream, script), '<7>{}\n<6>{}\n<4>{}\n<3>{}\n{}\n{}\n{}\n{}\n');
});
