// CRI-O with everything in folders of its own, as far as it lets one say where.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { stringify } from 'smol-toml';
import { program, run } from '../images/run.ts';
import type { PeerHome } from './peer.ts';

/** What of a node a CRI-O that runs pods is told; `pause` is the image of its pause processes. */
export type CrioHome = PeerHome & { readonly pause: string };

/**
 * Starts the CRI-O in `folder` over runc, its log in `logFile`; `registries` are spoken to by whatever scheme they answer.
 * Disposing it ends it and removes its files, unless they are a `home`.
 */
export async function startCrio(
  logFile: string,
  folder: string,
  registries: readonly string[],
  home?: CrioHome,
): Promise<AsyncDisposable & { readonly pid: number; readonly socket: string }> {
  const place = home ?? homeOfItsOwn();
  const { dir, socket } = place;
  for (const name of [dirname(socket), place.cniDir, join(dir, '.config/containers')])
    mkdirSync(name, { recursive: true });
  const registry = registries.map((location) => ({ location, insecure: true }));
  const files = {
    'crio.conf': stringify(configuration(place, folder)),
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
      if (home) return;
      // Its storage keeps its own folder mounted.
      if (existsSync(join(dir, 'root/overlay')))
        await run('/usr/bin/umount', ['-l', join(dir, 'root/overlay')]).catch(() => '');
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

/** It runs no pods. */
function homeOfItsOwn(): CrioHome {
  const dir = mkdtempSync(join(tmpdir(), 'berth-crio-'));
  return { dir, socket: join(dir, 'crio.sock'), state: join(dir, 'run'), cniDir: join(dir, 'net.d'), pause: '' };
}

const configuration = ({ dir, socket, state, cniDir, pause }: CrioHome, folder: string) => ({
  crio: {
    root: join(dir, 'root'),
    runroot: state,
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
      pinns_path: join(folder, 'pinns'),
      apparmor_profile: 'unconfined',
      container_exits_dir: join(dirname(socket), 'exits'),
      container_attach_socket_dir: join(dirname(socket), 'attach'),
      namespaces_dir: join(dir, 'namespaces'),
      runtimes: {
        runc: {
          runtime_path: '/usr/sbin/runc',
          runtime_root: join(dir, 'runc'),
          monitor_path: program('conmon', 'conmon'),
        },
      },
    },
    image: {
      signature_policy: join(dir, 'policy.json'),
      signature_policy_dir: join(dir, 'policies'),
      ...(pause !== '' && { pause_image: pause }),
    },
    network: { network_dir: cniDir, plugin_dirs: ['/usr/lib/cni'] },
    nri: { enable_nri: false },
  },
});
