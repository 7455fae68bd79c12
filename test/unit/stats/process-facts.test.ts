import assert from 'node:assert/strict';
import fs, {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { createServer } from 'node:net';
import { release, tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { countDescriptors, readProcessFacts } from '../../../src/stats/process-facts.ts';

const own = () =>
  readdirSync('/proc/self/fd').flatMap((name) => {
    try {
      return [readlinkSync(`/proc/self/fd/${name}`)];
    } catch {
      return []; // that of the listing itself
    }
  });

test('descriptors and sockets of a process, and of one that is gone', async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const links = own();
  const { descriptors, sockets } = countDescriptors([process.pid, 2 ** 30]);
  server.close();
  assert.equal(sockets, links.filter((link) => link.startsWith('socket:')).length);
  assert.equal(descriptors, links.length + 1, 'the look itself takes one');
});

test('processes that share many descriptors are not looked at one by one', () => {
  const many = Array.from({ length: 500 }, () => openSync('/dev/null', 'r'));
  const before = process.cpuUsage();
  const { descriptors } = countDescriptors(new Array(1000).fill(process.pid));
  const { user, system } = process.cpuUsage(before);
  for (const fd of many) closeSync(fd);
  assert.ok(user + system < 800_000, `${user + system} microseconds`);
  const [major = 0, minor = 0] = release().split('.').map(Number);
  const counts = major > 6 || (major === 6 && minor >= 2);
  if (counts) assert.ok(descriptors >= 500_000, `${descriptors} descriptors`);
});

test('of hundreds of thousands of processes a part is looked at, and the kernel counts the rest', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'berth-pids-'));
  t.after(() => rmSync(folder, { recursive: true }));
  mkdirSync(join(folder, 'c'));
  const pids = Array.from({ length: 300_000 }, (_, nth) => 2 ** 24 + nth); // nobody's: no kernel has as many
  writeFileSync(join(folder, 'c/cgroup.procs'), `${process.pid}\n${pids.join('\n')}\n`);
  const looks = ['readFileSync', 'opendirSync', 'statSync'].map((name) => t.mock.method(fs, name as 'statSync'));
  syncBuiltinESMExports();
  const facts = (controllers: string[]) =>
    readProcessFacts('/c', { tree: { mode: 'v2', hierarchies: [{ path: folder, version: 2, controllers }] } });
  const withoutCount = await facts([]);
  writeFileSync(join(folder, 'c/pids.current'), '400000\n');
  const { processes, threads, descriptors, openFilesLimit } = await facts(['pids']);
  const count = looks.reduce((sum, { mock }) => sum + mock.callCount(), 0);
  for (const look of looks) look.mock.restore();
  syncBuiltinESMExports();
  assert.deepEqual([processes, threads], [300_001, 400_000]);
  assert.ok(descriptors > 0 && openFilesLimit > 0);
  assert.ok(withoutCount.threads >= 300_001 - 2048, `${withoutCount.threads} threads`);
  assert.ok(count < 12_000, `${count} looks`);
});
