import assert from 'node:assert/strict';
import { closeSync, openSync, readdirSync, readlinkSync } from 'node:fs';
import { createServer } from 'node:net';
import { release } from 'node:os';
import { test } from 'node:test';
import { countDescriptors } from '../../../src/stats/process-facts.ts';

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
