// What the work costs with nobody around it: the same plugins and OCI runtimes, called by hand.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Command, CommandResult } from '../../src/base/command.ts';
import { runHere } from '../../src/sys/spawn.ts';

const path = 'PATH=/usr/sbin:/usr/bin:/sbin:/bin';

async function run(argv: readonly string[], more: Partial<Command> = {}): Promise<CommandResult> {
  const result = await runHere({ argv, env: [path], cwd: '/', deadlineMs: 60_000, ...more });
  if (result.code !== 0) throw new Error(`${argv.join(' ')}: ${result.stdout}${result.stderr}`);
  return result;
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const begin = performance.now();
  await work();
  return performance.now() - begin;
}

/** ADD and DEL of bridge and portmap in a namespace of its own, one plugin process after the other. */
export async function cniChain(): Promise<{ add: number; del: number }> {
  const dir = mkdtempSync(join(tmpdir(), 'berth-floor-'));
  const name = `floor${process.pid}`;
  const ipam = {
    type: 'host-local',
    dataDir: dir,
    ranges: [[{ subnet: '10.98.0.0/24' }]],
    routes: [{ dst: '0.0.0.0/0' }],
  };
  const plugins = [
    { type: 'bridge', bridge: 'berthfloor0', isGateway: true, ipMasq: true, hairpinMode: true, ipam },
    { type: 'portmap', capabilities: { portMappings: true }, snat: true },
  ];
  const call = async (command: string, plugin: object & { type: string }, prevResult: unknown) => {
    const env = [
      path,
      `CNI_COMMAND=${command}`,
      `CNI_CONTAINERID=${name}`,
      `CNI_NETNS=/run/netns/${name}`,
      'CNI_IFNAME=eth0',
      'CNI_PATH=/usr/lib/cni',
    ];
    const stdin = Buffer.from(
      JSON.stringify({ ...plugin, name: 'floor', cniVersion: '1.0.0', prevResult: prevResult ?? undefined }),
    );
    const { stdout } = await run([`/usr/lib/cni/${plugin.type}`], { env, stdin });
    return stdout.length > 0 ? JSON.parse(stdout.toString()) : prevResult;
  };
  await run(['/usr/sbin/ip', 'netns', 'add', name]);
  try {
    let result: unknown;
    const add = await timed(async () => {
      for (const plugin of plugins) result = await call('ADD', plugin, result);
    });
    const del = await timed(async () => {
      for (const plugin of plugins.toReversed()) await call('DEL', plugin, result);
    });
    return { add, del };
  } finally {
    await run(['/usr/sbin/ip', 'netns', 'delete', name]);
    rmSync(dir, { recursive: true });
  }
}

export const removeFloorBridge = (): Promise<CommandResult> =>
  runHere({ argv: ['/usr/sbin/ip', 'link', 'delete', 'berthfloor0'], env: [path], cwd: '/', deadlineMs: 10_000 });

/** A bundle that sleeps: create, start, exec and delete of a container by the bare OCI runtime. */
export async function ociRuntime(program: string): Promise<{ up: number; exec: number; down: number }> {
  const dir = mkdtempSync(join(tmpdir(), 'berth-floor-'));
  const id = `floor-${process.pid}`;
  const runtime = (...args: string[]) => run([program, '--root', join(dir, 'root'), ...args]);
  mkdirSync(join(dir, 'rootfs'));
  await run([program, 'spec'], { cwd: dir });

  const spec = JSON.parse(readFileSync(join(dir, 'config.json'), 'utf8'));
  for (const name of ['bin', 'proc', 'dev', 'sys']) mkdirSync(join(dir, 'rootfs', name));
  cpSync('/bin/busybox', join(dir, 'rootfs/bin/busybox'));
  Object.assign(spec.process, { terminal: false, args: ['/bin/busybox', 'sleep', '1000'] });
  Object.assign(spec.linux, { cgroupsPath: `/${id}` });
  writeFileSync(join(dir, 'config.json'), JSON.stringify(spec));
  try {
    const up = await timed(async () => {
      await detached(program, dir, id);
      await runtime('start', id);
    });
    const exec = await timed(() => runtime('exec', id, '/bin/busybox', 'true'));
    const down = await timed(() => runtime('delete', '--force', id));
    return { up, exec, down };
  } finally {
    rmSync(dir, { recursive: true });
  }
}

/** `create` leaves the container's process behind, which would hold our pipes: it gets none. */
async function detached(program: string, dir: string, id: string): Promise<void> {
  const args = ['--root', join(dir, 'root'), 'create', '--bundle', dir, id];
  const [code] = await once(spawn(program, args, { stdio: 'ignore' }), 'exit');
  if (code !== 0) throw new Error(`${program} create ended with ${code}`);
}
