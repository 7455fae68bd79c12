// Debian's containerd with everything in folders of its own: shows whether a failure is Berth's or the images'.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { stringify } from 'smol-toml';
import { mountsBelow } from '../../src/sys/mountinfo.ts';
import { unmount } from '../../src/sys/mounts.ts';
import { program, run } from '../images/run.ts';

export type Peer = AsyncDisposable & { readonly pid: number; readonly socket: string; readonly certsDir: string };

/** A handler that specs of Kubernetes' suites expect on a node. */
export const suiteHandler = 'test-handler';

/** Where a node has it: what is there stays when it ends, and it can be started there again. */
export type PeerHome = {
  readonly dir: string;
  readonly socket: string;
  readonly state: string;
  readonly cniDir: string;
};

/**
 * Starts containerd over runc; disposing it ends it and removes its files, unless they are a `home`. Its log is kept at
 * `logFile`. `folder` has the programs of another one than Debian's.
 */
export async function startContainerd(logFile: string, folder = '', home?: PeerHome): Promise<Peer> {
  const place = home ?? homeOfItsOwn();
  const { dir, socket } = place;
  const certsDir = join(dir, 'certs.d');
  mkdirSync(certsDir, { recursive: true });
  writeFileSync(join(dir, 'config.toml'), stringify(configuration(place, certsDir)));
  const log = createWriteStream(logFile);
  await once(log, 'open');
  const path = folder === '' ? program('containerd', 'containerd') : join(folder, 'containerd');
  const child = spawn(path, ['--config', join(dir, 'config.toml')], {
    stdio: ['ignore', log, log],
    env: { PATH: `${dirname(path)}:/usr/sbin:/usr/bin:/sbin:/bin` },
  });
  const ended = once(child, 'close');
  for (let left = 500; !existsSync(socket) && left > 0 && child.exitCode === null; left--) await delay(20);
  if (!existsSync(socket)) throw new Error(`containerd does not serve: see ${logFile}`);
  return {
    pid: child.pid!,
    socket,
    certsDir,
    async [Symbol.asyncDispose]() {
      child.kill('SIGTERM');
      await ended;
      if (home) return;
      if (existsSync(`/sys/class/net/${bridge}`)) await run('/usr/sbin/ip', ['link', 'delete', bridge]);
      for (const target of await mountsBelow(dir)) unmount(target, { detach: true }); // of pods that nobody removed
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

function homeOfItsOwn(): PeerHome {
  const dir = mkdtempSync(join(tmpdir(), 'berth-peer-'));
  const cniDir = join(dir, 'net.d');
  mkdirSync(cniDir);
  writeFileSync(join(cniDir, '10-peer.conflist'), JSON.stringify(conflist(dir)));
  return { dir, socket: join(dir, 'containerd.sock'), state: join(dir, 'state'), cniDir };
}

/** Its pods' addresses. */
export const peerSubnet = '10.99.0.0/24';
/** Its plugin makes it for the first pod and leaves it. */
const bridge = 'berthpeer0';

const conflist = (dir: string) => ({
  cniVersion: '0.4.0',
  name: 'peer',
  plugins: [
    {
      type: 'bridge',
      bridge,
      isGateway: true,
      ipMasq: true,
      hairpinMode: true,
      ipam: {
        type: 'host-local',
        dataDir: join(dir, 'ipam'),
        ranges: [[{ subnet: peerSubnet }]],
        routes: [{ dst: '0.0.0.0/0' }],
      },
    },
    { type: 'portmap', capabilities: { portMappings: true }, snat: true },
  ],
});

/** As Berth's in the tests (harness/daemon.ts). */
const SystemdCgroup = process.env.BERTH_TEST_CGROUP_DRIVER === 'systemd';
const runc = { runtime_type: 'io.containerd.runc.v2', options: { BinaryName: '/usr/sbin/runc', SystemdCgroup } };
const configuration = ({ dir, socket, state, cniDir }: PeerHome, certsDir: string) => ({
  version: 2,
  root: join(dir, 'root'),
  state,
  grpc: { address: socket },
  plugins: {
    'io.containerd.internal.v1.opt': { path: join(dir, 'opt') },
    'io.containerd.grpc.v1.cri': {
      sandbox_image: 'registry.k8s.io/pause:3.9',
      restrict_oom_score_adj: true,
      stream_server_address: '127.0.0.1',
      cni: { bin_dir: '/usr/lib/cni', conf_dir: cniDir },
      registry: { config_path: certsDir },
      containerd: {
        runtimes: {
          runc,
          [suiteHandler]: runc,
          crun: { runtime_type: 'io.containerd.runc.v2', options: { BinaryName: '/usr/bin/crun', SystemdCgroup } },
        },
      },
    },
  },
});
