import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import * as cri from '../../src/api/runtime/v1/cri.ts';
import { connectTo, type Rpc } from '../../src/commands/rpc.ts';
import { startCrio } from '../../test/conformance/crio.ts';
import { writeMirrors } from '../../test/conformance/mirrors.ts';
import { startContainerd } from '../../test/conformance/peer.ts';
import { TestDaemon } from '../../test/harness/daemon.ts';
import { hostName } from '../../test/harness/own-host.ts';
import { until } from '../../test/harness/pods.ts';
import { cacheFolder } from '../../test/images/paths.ts';
import { makeBundle } from '../bundle.ts';

/** Milliseconds. */
export type Restart = { readonly serving: number; readonly mended: number };

/** A CRI runtime under the clock. */
export type Contestant = AsyncDisposable & {
  readonly name: string;
  readonly socket: string;
  readonly runtime: Rpc<cri.RuntimeServiceClient>;
  readonly images: Rpc<cri.ImageServiceClient>;
  /** The daemon, and everything it keeps for pods but the workload. */
  readonly daemon: () => number;
  readonly keepers: () => number[];
  /** Restarts it after SIGKILL; milliseconds until it answers, and until all pods are mended. Null where that is not ours to do. */
  readonly restart: (() => Promise<Restart>) | null;
};

type Process = { readonly pid: number; readonly parent: number; readonly command: string };

function processes(): Process[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      try {
        const stat = readFileSync(`/proc/${name}/stat`, 'utf8');
        const parent = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
        return [
          { pid: Number(name), parent, command: readFileSync(`/proc/${name}/cmdline`, 'utf8').replaceAll('\0', ' ') },
        ];
      } catch {
        return []; // it ended while we looked
      }
    });
}

/** What is shipped, made of this checkout; of this run alone, as another one would write over its programs. */
export const bundle = (): string => makeBundle(bundleFolder('bundle'));

function bundleFolder(name: string): string {
  const folder = cacheFolder('bench', `${name}-${hostName}`);
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Berth as it is shipped, made of this checkout; its files and network are its own, and `handler` is its default one. */
export const startBerth = (handler = 'crun'): Promise<Contestant> =>
  startDaemon('Berth', new TestDaemon({ main: bundle(), handler }));

/** The same of another checkout, whose C is built. */
export async function startBuild(checkout: string, handler = 'crun'): Promise<Contestant> {
  const other: { makeBundle: typeof makeBundle } = await import(resolve(checkout, 'scripts/bundle.ts'));
  const main = other.makeBundle(bundleFolder('other'));
  return startDaemon('other build', new TestDaemon({ main, handler, subnet: '10.101.0.0/24' }));
}

async function startDaemon(name: string, daemon: TestDaemon): Promise<Contestant> {
  await daemon.start();
  return {
    name,
    socket: daemon.socket,
    get runtime() {
      return daemon.runtime; // another one after a restart
    },
    get images() {
      return daemon.images;
    },
    daemon: () => daemon.pid,
    keepers: () =>
      processes()
        .filter(({ command }) => command.includes(`berth-shim ${daemon.runDir}/`))
        .map(({ pid }) => pid),
    restart: async () => {
      await daemon.kill();
      const begin = performance.now();
      const since = daemon.logged.length;
      await daemon.start({}, { mended: false });
      await daemon.runtime.version({});
      const serving = performance.now() - begin;
      const isMended = async () => daemon.logged.slice(since).some(({ msg }) => msg === 'All is mended');
      await until('all is mended', isMended);
      return { serving, mended: performance.now() - begin };
    },
    [Symbol.asyncDispose]: () => daemon.dispose(),
  };
}

/** Debian's containerd, or the one in `folder`, or whatever serves CRI on `socket`. */
export async function startPeer(
  { peer: socket, containerd: folder }: { peer: string; containerd: string },
  registry: string,
): Promise<Contestant> {
  const own = socket === '' ? await startContainerd(join(cacheFolder('bench'), 'containerd.log'), folder) : null;
  if (own) writeMirrors(own.certsDir, registry);
  return peerAt(own?.socket ?? socket, own);
}

/** The CRI-O in `folder`, which pulls from these registries. */
export async function startCrioPeer(folder: string, registries: readonly string[]): Promise<Contestant> {
  const own = await startCrio(join(cacheFolder('bench'), 'crio.log'), folder, registries);
  return peerAt(own.socket, own);
}

async function peerAt(address: string, own: (AsyncDisposable & { readonly pid: number }) | null): Promise<Contestant> {
  const runtime = connectTo(cri.RuntimeServiceClient, cri, address);
  const images = connectTo(cri.ImageServiceClient, cri, address);
  const { runtimeName, runtimeVersion } = await runtime.version({});
  const pauses = /^\/pause|^\/usr\/local\/bin\/pause/;
  return {
    name: `${runtimeName} ${runtimeVersion.replace(/~.*/, '')}`,
    socket: address,
    runtime,
    images,
    daemon: () => own?.pid ?? processes().find(({ command }) => /(^|\/)(containerd|crio) /.test(command))?.pid ?? 0,
    keepers: () =>
      processes()
        .filter(({ command }) => /containerd-shim|conmon/.test(command) || pauses.test(command))
        .map(({ pid }) => pid),
    restart: null,
    async [Symbol.asyncDispose]() {
      const { items } = await runtime.listPodSandbox({});
      await Promise.all(items.map(({ id }) => runtime.removePodSandbox({ podSandboxId: id })));
      runtime.close();
      images.close();
      await own?.[Symbol.asyncDispose]();
    },
  };
}

/** Milliseconds of processor that the process has had, in user and in system mode (proc(5), stat). */
export function processorMs(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

/** Proportional set size of processes, bytes: shared pages count once among those who share them. */
export const pss = (pids: readonly number[]): number =>
  pids.reduce((sum, pid) => {
    try {
      return sum + Number(/^Pss:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1] ?? 0) * 1024;
    } catch {
      return sum; // it ended while we looked
    }
  }, 0);

/** So many restarts, one after the other; none of a peer. */
export async function restartsOf({ restart }: Contestant, times: number): Promise<Restart[]> {
  const all: Restart[] = [];
  while (restart && all.length < times) all.push(await restart());
  return all;
}
