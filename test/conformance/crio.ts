// CRI-O with everything in folders of its own, as far as it lets one say where.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { stringify } from 'smol-toml';
import { program, run } from '../images/run.ts';

/** Starts the CRI-O in `folder` over runc, its log in `logFile`; `registries` are spoken to by whatever scheme they answer. */
export async function startCrio(
  logFile: string,
  folder: string,
  registries: readonly string[],
): Promise<AsyncDisposable & { readonly pid: number; readonly socket: string }> {
  const dir = mkdtempSync(join(tmpdir(), 'berth-crio-'));
  const socket = join(dir, 'crio.sock');
  for (const folder of ['net.d', '.config/containers']) mkdirSync(join(dir, folder), { recursive: true });
  const registry = registries.map((location) => ({ location, insecure: true }));
  const files = {
    'crio.conf': stringify(configuration(dir, socket)),
    'policy.json': JSON.stringify({ default: [{ type: 'insecureAcceptAnything' }] }),
    '.config/containers/registries.conf': stringify({ registry }),
  };
  for (const [name, text] of Object.entries(files)) writeFileSync(join(dir, name), text);
  const log = createWriteStream(logFile);
  await once(log, 'open');
  const child = spawn(join(folder, 'crio'), ['--config', join(dir, 'crio.conf'), '--config-dir', ''], {
    stdio: ['ignore', log, log],
    // It reads registries.conf from below its home, or the host's.
    env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', HOME: dir },
  });
  const ended = once(child, 'close');
  for (let left = 500; !existsSync(socket) && left > 0 && child.exitCode === null; left--) await delay(20);
  if (!existsSync(socket)) throw new Error(`CRI-O does not serve: see ${logFile}`);
  return {
    pid: child.pid!,
    socket,
    async [Symbol.asyncDispose]() {
      child.kill('SIGTERM');
      await ended;
      // Its storage keeps its own folder mounted.
      if (existsSync(join(dir, 'root/overlay')))
        await run('/usr/bin/umount', ['-l', join(dir, 'root/overlay')]).catch(() => '');
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

const configuration = (dir: string, socket: string) => ({
  crio: {
    root: join(dir, 'root'),
    runroot: join(dir, 'run'),
    log_dir: join(dir, 'log'),
    version_file: join(dir, 'version'),
    version_file_persist: join(dir, 'version-persist'),
    clean_shutdown_file: join(dir, 'clean-shutdown'),
    storage_driver: 'overlay',
    api: { listen: socket, stream_port: '0' },
    runtime: {
      default_runtime: 'runc',
      cgroup_manager: 'cgroupfs',
      conmon_cgroup: 'pod',
      pinns_path: '/bin/true', // it is looked for at the start, and used for pods
      apparmor_profile: 'unconfined',
      container_exits_dir: join(dir, 'exits'),
      container_attach_socket_dir: join(dir, 'attach'),
      namespaces_dir: join(dir, 'namespaces'),
      runtimes: {
        runc: {
          runtime_path: '/usr/sbin/runc',
          runtime_root: join(dir, 'runc'),
          monitor_path: program('conmon', 'conmon'),
        },
      },
    },
    image: { signature_policy: join(dir, 'policy.json'), signature_policy_dir: join(dir, 'policies') },
    network: { network_dir: join(dir, 'net.d'), plugin_dirs: ['/usr/lib/cni'] },
    nri: { enable_nri: false },
  },
});
