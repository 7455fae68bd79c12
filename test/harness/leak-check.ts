import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { readersOf } from '../../src/lifecycle/lasting-files.ts';
import type { TestDaemon } from './daemon.ts';
import { inMachine } from './own-host.ts';

/** One kind of thing that a runtime can leave behind: what there is of it now, a line each. */
export type Footprint = Readonly<Record<string, readonly string[]>>;

/**
 * What the host has that a runtime could leak. Taken before and after a test, the two must be equal. The host is the test
 * file's own (own-host.ts), so everything counts, whoever made it; of cgroups, which all hosts share, what carries the
 * daemon's name.
 */
export function footprint(daemon: TestDaemon): Footprint {
  return {
    mounts: mountLines()
      .filter((line) => !copyOfItself.test(line))
      .sort(),
    links: links(daemon).sort(),
    iptables: iptablesRules().sort(),
    cgroups: cgroups(daemon).sort(),
    processes: processes(daemon).sort(),
    'shim sockets and namespaces open in the daemon': openFiles(daemon),
    files: files(daemon).sort(),
  };
}

/** Fails with the difference, kind by kind. */
export function assertNoLeak(before: Footprint, after: Footprint): void {
  const difference = Object.keys(after).flatMap((kind) => {
    const [old, now] = [before, after].map((all) => new Map(all[kind]!.map((line) => [identity(line), line])));
    const added = [...now!].filter(([key]) => !old!.has(key)).map(([, line]) => `+ ${kind}: ${line}`);
    const lost = [...old!]
      .filter(([key, line]) => !now!.has(key) && !goneWithItsDirectory(line))
      .map(([, line]) => `- ${kind}: ${line}`);
    return [...added, ...lost];
  });
  assert.deepEqual(difference, [], 'the host differs from what it was before');
}

const processLine = (pid: string, started: string, command: string): string =>
  `pid ${pid} since ${started}: ${command}`;

/** A process is the same under another command line: what a runtime starts has the runtime's own until it executes. */
const identity = (line: string): string => /^pid \d+ since \d+/.exec(line)?.[0] ?? line;

const linesOf = (text: string): string[] => text.split('\n').filter((line) => line !== '');

export const mountLines = (): string[] =>
  linesOf(readFileSync('/proc/self/mountinfo', 'utf8')).map((line) => {
    const [, , , root, mountPoint, , ...rest] = line.split(' ');
    return `${mountPoint} ${root} ${rest.slice(rest.indexOf('-') + 1, rest.indexOf('-') + 3).join(' ')}`;
  });

/** crun runs as a copy of its own program, which it mounts for a moment; the questions of a daemon that has begun do it too. */
const copyOfItself = /^\/tmp\/crun\.\w{6} /;

/** Mounts of others, copied when this host was made. */
const inherited = new Set(mountLines());

/** What others remove outside: with a directory the kernel takes what is mounted there in every mount namespace, also a private one. */
const goneWithItsDirectory = (line: string): boolean => inherited.has(line) && !existsSync(line.split(' ')[0]!);

/** The daemon's bridge stays with it: the plugin makes it once. */
const links = (daemon: TestDaemon): string[] =>
  readdirSync('/sys/class/net').flatMap((name) => {
    if (name === daemon.bridge) return [];
    const master = join('/sys/class/net', name, 'master');
    return [existsSync(master) ? `${name} on ${readlinkSync(master).split('/').at(-1)}` : name];
  });

/** Chains that the plugins make once and keep. */
const sharedChains = /CNI-HOSTPORT|^:|^\*|^#|^COMMIT|CNI-ADMIN|CNI-FORWARD/;

function iptablesRules(): string[] {
  const text = execFileSync('/usr/sbin/iptables-save', { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  return linesOf(text).filter((line) => !sharedChains.test(line) || line.includes('dnat name'));
}

/** Those of the daemon. Not counted: what crun 1.8 makes beside the mounts, above the pods, when hugetlb is not a v1 controller. */
function cgroups(daemon: TestDaemon): string[] {
  const root = '/sys/fs/cgroup';
  const beside = [`${root}/hugetlb`, `${root}/hugetlb/${daemon.name}`];
  const below = (folder: string, depth: number): string[] => {
    if (depth === 0) return [];
    let entries: import('node:fs').Dirent[];
    try {
      entries = readdirSync(folder, { withFileTypes: true });
    } catch {
      return []; // it went away while we looked
    }
    return entries
      .filter((entry) => entry.isDirectory())
      .flatMap((entry) => [join(folder, entry.name), ...below(join(folder, entry.name), depth - 1)]);
  };
  return below(root, 6).filter((folder) => folder.includes(daemon.name) && !beside.includes(folder));
}

/** What a daemon asks each OCI runtime once it serves: such a process ends by itself, and knows of no container. */
const question = /^\S*(run|crun|runsc)[^/ ]*( --root \S+)? (--version|features)$/;

/** Come and go as an operator's files are read; the test of paths that hang sees that they go. */
const readers = new RegExp(`berth-look (${Object.values(readersOf).join('|')})$`);

/** All but what the test itself started, and questions to OCI runtimes; in the machine of test/vm, those whose command line or cgroup names the daemon. */
const processes = (daemon: TestDaemon): string[] =>
  eachProcess(daemon, (pid) => {
    const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();
    // Without a command line it gave its memory back: it ends, and after a shim's death init is to reap it.
    if (command === '' || question.test(command) || readers.test(command)) return [];
    const { parent } = statOf(pid);
    if (parent === process.pid || (parent === daemon.pid && command.includes(daemon.configFile))) return []; // the daemon's child has not executed yet
    const cgroup = () => readFileSync(`/proc/${pid}/cgroup`, 'utf8');
    const ours = !inMachine || command.includes(daemon.runDir) || cgroup().includes(`/${daemon.name}/`);
    return ours ? [processLine(pid, statOf(pid).started, command)] : [];
  });

/**
 * Fails for a child of the daemon that ended and stays a zombie. One that ended just now is reaped by the daemon's loop,
 * which has gone round when two calls were answered.
 */
export async function assertReaped(daemon: TestDaemon): Promise<void> {
  const ended = new Set(zombies(daemon));
  if (ended.size === 0) return;
  for (let call = 0; call < 2; call++) await daemon.runtime.version({});
  const left = zombies(daemon).filter((pid) => ended.has(pid));
  assert.deepEqual(left, [], 'the daemon does not reap its children');
}

const zombies = (daemon: TestDaemon): string[] =>
  eachProcess(daemon, (pid) => {
    const { state, parent } = statOf(pid);
    if (state !== 'Z' || parent !== daemon.pid) return [];
    return readdirSync(`/proc/${pid}/task`).length === 1 ? [pid] : []; // its parent hears nothing while a thread is there
  });

/** proc_pid_stat(5), from the third field on; when it started is in clock ticks since boot. */
function statOf(pid: string): { state: string; parent: number; started: string } {
  const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return { state: fields[0]!, parent: Number(fields[1]), started: fields[19]! };
}

function eachProcess(daemon: TestDaemon, look: (pid: string) => string[]): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== daemon.pid && Number(name) !== process.pid)
    .flatMap((pid) => {
      try {
        return look(pid);
      } catch {
        return []; // it ended while we looked
      }
    });
}

function openFiles(daemon: TestDaemon): string[] {
  if (daemon.pid === 0) return [];
  return readdirSync(`/proc/${daemon.pid}/fd`).flatMap((fd) => {
    try {
      const target = readlinkSync(`/proc/${daemon.pid}/fd/${fd}`);
      return target.includes(`${daemon.runDir}/pods/`) || target.startsWith('net:[') ? [target] : [];
    } catch {
      return [];
    }
  });
}

/** Committed layers and images are meant to stay, and documents that are an image's; so do logs, which are kubelet's. */
function files(daemon: TestDaemon): string[] {
  const run = inMachine ? daemon.runDir : '/run';
  const roots = [run, daemon.dataDir, join(daemon.dir, 'cni'), daemon.ipamDir, '/var/lib/cni', '/var/log/pods'];
  const kept = /^\/run\/mount\b|\/(snapshots\/sha256|images\/|last_reserved_ip|\S*lock$)/;
  const isAnImages = (path: string) =>
    /\/documents\/sha/.test(path) && existsSync(`${path.replace('/documents/', '/images/')}.json`);
  return roots
    .filter((root) => existsSync(root))
    .flatMap((root) => below(root, kept))
    .filter((path) => !isAnImages(path));
}

/** No link is followed: Node's recursive readdir does, and layers are full of links to anywhere. */
function below(folder: string, kept: RegExp): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (kept.test(path)) return [];
    return entry.isDirectory() ? [path, ...below(path, kept)] : [path];
  });
}
