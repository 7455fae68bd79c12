// What berth says of a daemon that does not answer.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { askDaemon } from '../../../src/commands/ask.ts';

test('a daemon that takes calls and never answers is told from one that is not there', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'berth-ask-'));
  const socket = join(dir, 's');
  const taken = new Set<Socket>();
  const silent = createServer((connection) => void taken.add(connection)).listen(socket);
  await once(silent, 'listening');
  const asked = () => askDaemon(socket, (daemon) => daemon.listPulls({}, { deadline: Date.now() + 200 }));
  try {
    await assert.rejects(asked(), {
      kind: 'DeadlineExceeded',
      message: /^Berth at .* gave no answer in time: SIGUSR2/,
    });
    for (const connection of taken) connection.destroy();
    silent.close();
    await once(silent, 'close');
    await assert.rejects(asked(), { kind: 'Unavailable', message: /^Berth is not running/ });
  } finally {
    rmSync(dir, { recursive: true });
  }
});
