import { existsSync, readdirSync, readFileSync, statfsSync, statSync } from 'node:fs';
import { realpath } from 'node:fs/promises';
import { release } from 'node:os';
import { dirname, join } from 'node:path';
import { isErrno, messageOf } from '../base/fault.ts';
import type { Settings } from '../base/settings.ts';
import { probeFeatures } from '../lifecycle/runtime/handler-features.ts';
import { escapesOf } from '../lifecycle/runtime/known-escapes.ts';
import { isId, type PodId } from '../model/ids.ts';
import { ConflistDirectory } from '../network/conflist-directory.ts';
import { findPlugin } from '../network/plugin.ts';
import { Layout } from '../state/layout.ts';
import { cgroupFolders } from '../sys/cgroups.ts';
import { gatherHostFacts } from '../sys/host.ts';
import { mountOf, mountTableAtOnce } from '../sys/mountinfo.ts';
import { runHere } from '../sys/spawn.ts';
import { askDaemon } from './ask.ts';
import type { NodeFacts } from './doctor-checks.ts';
import { hostFiles } from './host-files.ts';
import { socketInForce } from './in-force.ts';
import { otherRuntimes } from './other-runtimes.ts';

/** Looks up all that the checks ask for; changes nothing, and asks nobody outside of this host. */
export async function gatherNodeFacts(settings: Settings): Promise<NodeFacts> {
  const host = gatherHostFacts();
  return {
    kernel: { version: host.kernel, release: release() },
    fileSystems: [...readFileSync('/proc/filesystems', 'utf8').matchAll(/(\S+)\n/g)].map(([, type = '']) => type),
    cgroups: host.cgroupMode,
    controllers: host.controllers,
    cgroupDriver: settings.cgroupDriver,
    isSystemds: existsSync('/run/systemd/system'),
    disk: await diskOf(settings.dataDir),
    defaultHandler: settings.defaultHandler,
    ociRuntimes: await ociRuntimesOf(settings),
    networks: await networksOf(settings),
    clock: { isSynchronised: await isSynchronised(), now: Date.now(), programMade: programMade() },
    ...leftoversOf(settings),
    others: otherRuntimes(),
    daemon: await daemonFacts(await socketInForce(settings)),
  };
}

/** A directory that is yet to be made will be on the file system of what is above it. */
function existing(path: string): string {
  return existsSync(path) ? path : existing(dirname(path));
}

async function diskOf(path: string): Promise<NodeFacts['disk']> {
  const place = await realpath(existing(path));
  const { bsize, blocks, bavail, files, ffree } = statfsSync(place);
  return {
    path,
    type: mountOf(place, mountTableAtOnce())?.type ?? 'unknown',
    bytes: { free: bavail * bsize, all: blocks * bsize },
    inodes: { free: ffree, all: files },
  };
}

function ociRuntimesOf(settings: Settings): Promise<NodeFacts['ociRuntimes']> {
  const layout = new Layout(settings);
  return Promise.all(
    Object.entries(settings.handlers).map(async ([handler, { path }]) => {
      const installed = existsSync(path);
      const { version } = installed ? await probeFeatures(path, layout.ociStateOf(handler)) : { version: '' };
      return { handler, path, installed, version, escapes: escapesOf(version) };
    }),
  );
}

async function networksOf({ cni }: Settings): Promise<NodeFacts['networks']> {
  using files = hostFiles();
  const { lists, problems } = await new ConflistDirectory(cni.confDir, files).look();
  const types = new Set(lists.flatMap(({ plugins }) => plugins.map(({ type }) => type)));
  const missing: string[] = [];
  for (const type of types) {
    if ((await findPlugin(type, { binDirs: cni.binDirs, files })) === null) missing.push(type);
  }
  return {
    folder: cni.confDir,
    names: lists.map(({ name }) => name),
    problems,
    missing,
    binDirs: cni.binDirs,
  };
}

/** What is run has its own date, which a package keeps. */
function programMade(): number {
  return statSync(process.argv[1] ?? process.execPath).mtimeMs;
}

/** timedatectl knows of every service that sets the kernel's clock; it is not there without systemd. */
async function isSynchronised(): Promise<boolean | null> {
  try {
    const argv = ['/usr/bin/timedatectl', 'show', '--property=NTPSynchronized', '--value'];
    const { code, stdout } = await runHere({ argv, env: [], cwd: '/', deadlineMs: 5000 });
    return code === 0 ? stdout.toString().trim() === 'yes' : null;
  } catch {
    return null;
  }
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return [];
    throw error;
  }
}

/**
 * A pod is recorded before anything of it is made, and forgotten last: who looks at the host first finds no false ones. Pins
 * of network namespaces are not looked at, since other runtimes give theirs such names, too.
 */
function leftoversOf(settings: Settings): Pick<NodeFacts, 'leftovers' | 'quarantined'> {
  const layout = new Layout(settings);
  const folders = namesIn(layout.pods).filter(isId);
  const hierarchies = new Set(cgroupFolders(settings.cgroupParent)); // a controller that is mounted twice has one folder
  const cgroups = [...hierarchies].flatMap((folder) =>
    namesIn(folder).flatMap((name) => {
      const id = /[0-9a-f]{64}/.exec(name)?.[0];
      return id === undefined ? [] : [{ id, path: join(folder, name) }];
    }),
  );
  const recorded = (what: string) => namesIn(join(layout.state, what)).map((name) => name.replace(/\.json$/, ''));
  const pods = new Set(recorded('pods'));
  const ids = new Set([...pods, ...recorded('containers')]);
  const quarantine = join(layout.state, 'quarantine');
  return {
    leftovers: [
      ...folders.filter((id) => !pods.has(id)).map((id) => ({ what: 'files', path: layout.pod(id as PodId) })),
      ...cgroups.filter(({ id }) => !ids.has(id)).map(({ path }) => ({ what: 'the cgroup', path })),
    ],
    quarantined: namesIn(quarantine).map((name) => join(quarantine, name)),
  };
}

async function daemonFacts(socket: string): Promise<NodeFacts['daemon']> {
  try {
    await askDaemon(socket, (daemon) => daemon.listPulls({}, { deadline: Date.now() + 5000 }));
    return { socket, problem: null };
  } catch (error) {
    return { socket, problem: messageOf(error) };
  }
}
