// Attacks are tried in mount and network namespaces of the test file's own: what succeeds reaches nothing of the host.
// Files that an attack may write, /dev and /etc, are copies there.
import { spawnSync } from 'node:child_process';
import { basename } from 'node:path';
import { test } from 'node:test';
import { ensureTestImages } from '../images/index.ts';

const inside = 'BERTH_OWN_NAMESPACES';

/** An empty /run, a /dev with the few nodes that programs need, and an /etc whose changes go to memory. */
const privateHost = `set -e
mount -t tmpfs -o mode=755 run /run
mkdir -p /run/private/etc /run/private/work
mount -t overlay -o lowerdir=/etc,upperdir=/run/private/etc,workdir=/run/private/work etc /etc
mount -t tmpfs -o mode=755,size=8m dev /dev
mkdir /dev/pts /dev/shm /dev/mqueue
for node in 'null 1 3' 'zero 1 5' 'full 1 7' 'random 1 8' 'urandom 1 9' 'tty 5 0'; do
  set -- $node "$@"
  mknod -m 666 "/dev/$1" c "$2" "$3"
  shift 3
done
mount -t devpts -o newinstance,mode=620,ptmxmode=666 devpts /dev/pts
mount -t tmpfs -o mode=1777 shm /dev/shm
ln -s pts/ptmx /dev/ptmx
ln -s /proc/self/fd /dev/fd
ln -s fd/1 /dev/stdout
ln -s fd/2 /dev/stderr
ip link set lo up
exec "$@"`;

/**
 * Runs `body` if this process is in namespaces of its own; else runs the test file in new ones, as one test: with its own
 * mounts (see privateHost), and a network with nothing but loopback, for which `prepare` may fetch what it needs.
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
  const argv = ['--mount', '--net', '--propagation', 'private', '/bin/sh', '-c', privateHost, 'sh', ...run];
  const { status, stdout } = spawnSync('/usr/bin/unshare', argv, {
    env: { ...env, [inside]: '1' },
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  if (status !== 0) throw new Error(`it failed with ${status}:\n${stdout}`);
}
