// A volume on a file server that answers nothing holds up who asked for it, and not the daemon.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync } from 'node:fs';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { resolveMounts } from '../../src/lifecycle/container/mounts.ts';
import type { Mount } from '../../src/model/config.ts';
import { mount, mountFlags, unmount } from '../../src/sys/mounts.ts';
import { ownHost } from '../harness/own-host.ts';

await ownHost();

const target = '/run/silent';
const atHostPath = (hostPath: string) => ({ hostPath, image: '', propagation: 'private' }) as Mount;

test('looking at the host path of a mount leaves the event loop its turns', async () => {
  mkdirSync(target);
  const server = openSync('/dev/fuse', 'r+');
  const options = `fd=${server},rootmode=40000,user_id=0,group_id=0`;
  mount('silent', target, 'fuse', mountFlags.nosuid | mountFlags.nodev, options);
  // The server is who holds the descriptor: when it ends, so does the wait, also for a loop that stands still.
  const holder = spawn('/bin/sleep', ['60'], { stdio: ['ignore', 'ignore', 'ignore', server] });
  closeSync(server);
  const from = performance.now();
  const looked = assert.rejects(async () => resolveMounts([atHostPath(`${target}/x`)], { refuseMissing: false }), {
    code: 'ENOTCONN',
  });
  await turn();
  await turn();
  assert.ok(performance.now() - from < 20_000, `${performance.now() - from} ms for two turns`);
  holder.kill();
  await looked;
  unmount(target, { detach: true });
});
