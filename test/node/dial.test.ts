// Addresses that swallow what is sent to them, on a network of the test's own.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createServer } from 'node:net';
import { test } from 'node:test';
import { dial } from '../../src/image/dial.ts';
import { ownHost } from '../harness/own-host.ts';

await ownHost();

const ip = (...words: string[]) => execFileSync('ip', words, { stdio: ['ignore', 'ignore', 'inherit'] });

test('an address that is silent, or has no route, costs the next one a moment at most', async (t) => {
  ip('link', 'add', 'swallow', 'type', 'veth', 'peer', 'name', 'deep');
  t.after(() => ip('link', 'del', 'swallow'));
  ip('addr', 'add', '192.0.2.254/24', 'dev', 'swallow'); // TEST-NET-1 (RFC 5737)
  for (const end of ['swallow', 'deep']) ip('link', 'set', end, 'up');
  ip('neigh', 'add', '192.0.2.1', 'lladdr', '02:00:00:00:00:01', 'dev', 'swallow');
  const server = createServer((socket) => socket.on('error', () => {}));
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  t.after(() => server.close());
  const { port } = server.address() as { port: number };
  const socket = await dial('r.example', port, 10_000, {
    addressesOf: async () => ['2001:db8::1', '192.0.2.1', '127.0.0.1'],
  });
  assert.equal(socket.remoteAddress, '127.0.0.1');
  socket.destroy();
  await assert.rejects(
    dial('r.example', port, 500, { addressesOf: async () => ['2001:db8::1', '192.0.2.1'] }),
    /r\.example: \[2001:db8::1\]:\d+: .*E(?:NETUNREACH|ADDRNOTAVAIL|HOSTUNREACH).*; 192\.0\.2\.1:\d+ did not answer within 0\.5 s/,
  );
});
