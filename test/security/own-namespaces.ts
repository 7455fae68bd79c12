// Attacks are tried in mount and network namespaces of the test file's own: what succeeds reaches nothing of the host.
import { spawnSync } from 'node:child_process';
import { basename } from 'node:path';
import { test } from 'node:test';
import { ensureTestImages } from '../images/index.ts';

const inside = 'BERTH_OWN_NAMESPACES';

/**
 * Runs `body` if this process is in namespaces of its own; else runs the test file in new ones, as one test: with its own
 * mounts, an empty /run, and a network with nothing but loopback, for which `prepare` may fetch what it needs.
 */
export function inOwnNamespaces(file: string, body: () => void, prepare = async () => {}): void {
  if (process.env[inside]) body();
  else test(`in namespaces of its own: ${basename(file)}`, () => runInside(file, prepare));
}

async function runInside(file: string, prepare: () => Promise<void>): Promise<void> {
  await ensureTestImages();
  await prepare();
  const { NODE_TEST_CONTEXT: _, ...env } = process.env;
  const run = [process.execPath, '--test', '--test-force-exit', '--test-reporter=spec', file];
  const script = 'mount -t tmpfs -o mode=755 run /run && ip link set lo up && exec "$@"';
  const argv = ['--mount', '--net', '--propagation', 'private', '/bin/sh', '-c', script, 'sh', ...run];
  const { status, stdout } = spawnSync('/usr/bin/unshare', argv, {
    env: { ...env, [inside]: '1' },
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  if (status !== 0) throw new Error(`it failed with ${status}:\n${stdout}`);
}
