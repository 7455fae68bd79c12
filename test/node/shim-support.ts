// What the shim's tests share: a shim in a folder of its own, and bundles of a static busybox for real OCI runtimes.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { copyFile, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import type { Command, CommandResult } from '../../src/base/command.ts';
import { isErrno } from '../../src/base/fault.ts';
import type { LogLoss, Shim, ShimExit, StartSpec } from '../../src/shim/index.ts';
import { connectShim, startShim } from '../../src/shim/index.ts';

export const env = ['PATH=/usr/sbin:/usr/bin:/sbin:/bin'];
/** The sleepers of each test file sleep for a time of their own, so that one left behind is known. */
const sleepers: Record<string, string> = { run: '10', sandbox: '11', start: '12', exec: '13', logs: '14' };
/** The sanitizers' build reports to shim.log, and takes more memory than any bound here. */
export const sanitized = process.env.BERTH_SANITIZED === '1';

export type TestPod = {
  readonly dir: string;
  readonly shim: Shim;
  /** Exits in the order of their arrival. */
  readonly exits: ShimExit[];
  readonly pauseExits: number[];
  /** What the shim told of lost lines, in the order of arrival, and how many exits had come before. */
  readonly losses: { key: string; loss: LogLoss; exitsBefore: number }[];
  /** Resolves with the exit event of this key, which may have come already. */
  exited(key: string): Promise<ShimExit>;
  readonly lost: Promise<void>;
  /** Runs after the test, last first, while the shim is still up. */
  defer(undo: () => Promise<void>): void;
};

/** Starts a shim in a fresh folder. After the test it is shut down, and must have left nothing and complained not. */
export async function startPod(t: TestContext, options: { complains?: RegExp } = {}): Promise<TestPod> {
  const dir = await mkdtemp(join(tmpdir(), 'shim-'));
  const exits: ShimExit[] = [];
  const pauseExits: number[] = [];
  const losses: TestPod['losses'] = [];
  const waiting = new Map<string, (exit: ShimExit) => void>();
  const lost = Promise.withResolvers<void>();
  const shim = await startShim(dir, {
    onExit: (exit) => {
      exits.push(exit);
      waiting.get(exit.key)?.(exit);
    },
    onLost: () => lost.resolve(),
    onPauseExit: (pid) => pauseExits.push(pid),
    onLogLost: (key, loss) => losses.push({ key, loss, exitsBefore: exits.length }),
  });
  const awake = setInterval(() => {}, 60_000); // an idle connection does not keep the process alive
  const exited = (key: string) =>
    new Promise<ShimExit>((resolve) => {
      const exit = exits.find((other) => other.key === key);
      if (exit) resolve(exit);
      else waiting.set(key, resolve);
    });
  const undo: (() => Promise<void>)[] = [];
  t.after(async () => {
    clearInterval(awake);
    for (const step of undo.reverse()) await step();
    const last = await connectShim(dir, { onExit() {}, onLost() {} });
    await last?.shutdown({ force: true });
    shim.close();
    assertNothingLeft(dir);
    const log = await readFile(join(dir, 'shim.log'), 'utf8');
    await rm(dir, { recursive: true });
    assert.match(log, options.complains ?? /^$/);
  });
  return { dir, shim, exits, pauseExits, losses, exited, lost: lost.promise, defer: (step) => undo.push(step) };
}

function assertNothingLeft(dir: string): void {
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8').split('\n');
  assert.deepEqual(
    mounts.filter((line) => line.includes(dir)),
    [],
  );
  const sockets = readdirSync(dir).filter((name) => name.endsWith('.sock'));
  assert.deepEqual(sockets, []);
  const file = /shim-(\w+)\.test\.ts$/.exec(process.argv[1] ?? '')?.[1] ?? '';
  const sleeper = new RegExp(`sleep ${sleepers[file]}\\d\\d `);
  const commands = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((pid) => readProc(pid, 'cmdline').replaceAll('\0', ' '));
  assert.deepEqual(
    commands.filter((command) => command.includes(dir) || sleeper.test(command)),
    [],
  );
}

/** A file of a process' folder in /proc; empty once the process is gone. */
export function readProc(pid: number | string, name: string): string {
  try {
    return readFileSync(`/proc/${pid}/${name}`, 'latin1');
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ESRCH')) return '';
    throw error;
  }
}

/** One field of /proc/<pid>/status; empty once the process is gone. */
export function statusOf(pid: number, field: string): string {
  const line = readProc(pid, 'status')
    .split('\n')
    .find((text) => text.startsWith(`${field}:`));
  return line?.slice(field.length + 1).trim() ?? '';
}

/** True while the process is there and not a zombie. */
export const alive = (pid: number): boolean => /^[^ZX]/.test(statusOf(pid, 'State'));

/** Resolves when `condition` holds; looks at it every few milliseconds, for what announces itself by no event. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  for (let looks = 0; !(await condition()); looks++) {
    assert.ok(looks < 4000, `never came true: ${condition}`); // a test that fails is to end
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Runs a script of the host's shell through the shim. */
export const script = (text: string, more: Partial<Command> = {}): Command => ({
  argv: ['/bin/sh', '-c', text],
  env,
  cwd: '/',
  deadlineMs: 30_000,
  ...more,
});

export const textOf = ({ code, stdout, stderr }: CommandResult) => ({
  code,
  stdout: stdout.toString(),
  stderr: stderr.toString(),
});

const quoted = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;

/**
 * A script that leaves `text` running in the background and its pid in the file `$1`. A shell would reap it early now
 * and then; perl does not. With `zombie` it goes on until the process has ended.
 */
export function leaving(text: string, zombie = false): string {
  const wait =
    'sub state { open(my $s, "<", "/proc/$p/stat"); <$s> =~ /\\) (.)/; $1 } select(undef, undef, undef, 0.01) until state() eq "Z";';
  const program = `my $p = fork; if (!$p) { exec "/bin/sh", "-c", $ARGV[1] } ${zombie ? wait : ''} open(my $f, ">", $ARGV[0]); print $f $p;`;
  return `exec /usr/bin/perl -e ${quoted(program)} "$1" ${quoted(text)}`;
}

/**
 * The text of a process that writes as a test says. `widen`: its pipe, once read in a whole piece, holds a megabyte; `fill`:
 * the shim finds so many bytes at once, and the end if the process has one.
 */
export function gated(pod: TestPod, bytes: number, last: string) {
  const file = (name: string) => join(pod.dir, `gate-${name}`);
  const wait = (name: string) => `until [ -e ${file(name)} ]; do sleep 0.01; done`;
  const write = (count: number, name: string) => `head -c ${count} /dev/zero; : >${file(name)}`;
  const text = `echo $$ >${file('begun')}; ${wait('one')}; ${write(65536, 'wrote')}; ${wait('two')}; ${write(bytes, 'full')}; ${last}`;
  const stopped = async (go: string, done: () => boolean) => {
    process.kill(pod.shim.pid, 'SIGSTOP');
    writeFileSync(file(go), '');
    await until(done);
    process.kill(pod.shim.pid, 'SIGCONT');
    for (let turns = 2; turns > 0; turns--) await pod.shim.list(); // what can be read is read by then
  };
  const pid = () => Number(readFileSync(file('begun'), 'utf8'));
  return {
    text,
    widen: async () => {
      await until(() => existsSync(file('begun')) && pid() > 0);
      await stopped('one', () => existsSync(file('wrote')));
    },
    fill: (ends: boolean) => stopped('two', () => existsSync(file('full')) && !(ends && alive(pid()))),
  };
}

/** The log's path has no link. */
const noFolder = { logFolder: '', logName: '', logDeadlineMs: 10_000 } as const;

/** A `start` whose OCI runtime is a script: `$1` is the pid file; what it leaves in the background is tracked. */
export const startScript = (pod: TestPod, key: string, text: string, more: Partial<StartSpec> = {}): StartSpec => ({
  key,
  argv: ['/bin/sh', '-c', text, 'sh', join(pod.dir, `${key}.pid`)],
  env,
  cwd: pod.dir,
  deadlineMs: 30_000,
  pidFile: join(pod.dir, `${key}.pid`),
  stdin: false,
  tty: false,
  logPath: join(pod.dir, `${key}.log`),
  ...noFolder,
  oomFile: '',
  exitFile: join(pod.dir, `${key}.exit`),
  ...more,
});

export const ociRuntimes = { crun: '/usr/bin/crun', runc: '/usr/sbin/runc' } as const;
export type RuntimeName = keyof typeof ociRuntimes;

const applets = [
  'sh',
  'sleep',
  'echo',
  'cat',
  'true',
  'seq',
  'printf',
  'head',
  'kill',
  'tr',
  'dd',
  'stty',
  'tty',
  'yes',
];

export type Bundle = {
  readonly id: string;
  readonly dir: string;
  readonly cgroup: string;
  /** The OCI runtime's command line with its own state folder. */
  command(...args: string[]): string[];
  create(more?: Partial<StartSpec>): StartSpec;
  /** Creates and starts the container. */
  up(more?: Partial<StartSpec>): Promise<number>;
};

/** A container's bundle; after the test the container is deleted and its cgroup gone. */
export async function makeBundle(
  pod: TestPod,
  runtime: RuntimeName,
  args: readonly string[],
  options: { tty?: boolean; memoryLimit?: number } = {},
): Promise<Bundle> {
  const id = `shim-test-${randomBytes(6).toString('hex')}`;
  const dir = join(pod.dir, id);
  await makeRootfs(join(dir, 'rootfs'));
  await writeFile(join(dir, 'config.json'), JSON.stringify(specOf(id, args, options)));
  const command = (...rest: string[]) => [ociRuntimes[runtime], '--root', join(dir, 'state'), ...rest];
  const create = (more: Partial<StartSpec> = {}): StartSpec => ({
    key: id,
    argv: command(
      'create',
      '--pid-file',
      join(dir, 'pid'),
      '--bundle',
      dir,
      ...(more.tty ? ['--console-socket', '{console}'] : []),
      id,
    ),
    env,
    cwd: dir,
    deadlineMs: 30_000,
    pidFile: join(dir, 'pid'),
    stdin: false,
    tty: false,
    logPath: join(dir, 'log'),
    ...noFolder,
    oomFile: '',
    exitFile: join(dir, 'exit'),
    ...more,
  });
  const up = async (more: Partial<StartSpec> = {}) => {
    const created = await pod.shim.start(create(more));
    assert.notEqual(created.pid, 0, created.stderr.toString());
    const started = await pod.shim.run({ argv: command('start', id), env, cwd: '/', deadlineMs: 30_000 });
    assert.equal(started.code, 0, started.stderr.toString());
    return created.pid;
  };
  pod.defer(async () => {
    const shim = (await connectShim(pod.dir, { onExit() {}, onLost() {} }))!;
    await shim.run({ argv: command('delete', '--force', id), env, cwd: '/', deadlineMs: 30_000 });
    shim.close();
    assert.equal(existsSync(`/sys/fs/cgroup/memory/${id}`), false, 'its cgroup stayed');
  });
  return { id, dir, cgroup: `/sys/fs/cgroup/memory/${id}`, command, create, up };
}

async function makeRootfs(rootfs: string): Promise<void> {
  for (const name of ['bin', 'proc', 'dev', 'tmp']) await mkdir(join(rootfs, name), { recursive: true });
  await copyFile('/bin/busybox', join(rootfs, 'bin/busybox'));
  for (const name of applets) await symlink('busybox', join(rootfs, 'bin', name));
}

function specOf(id: string, args: readonly string[], options: { tty?: boolean; memoryLimit?: number }): object {
  const limit = options.memoryLimit;
  return {
    ociVersion: '1.0.2',
    process: {
      terminal: options.tty ?? false,
      user: { uid: 0, gid: 0 },
      args,
      env: ['PATH=/bin'],
      cwd: '/',
      noNewPrivileges: true,
    },
    root: { path: 'rootfs' },
    mounts: [
      { destination: '/proc', type: 'proc', source: 'proc' },
      { destination: '/dev', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'mode=755'] },
      { destination: '/dev/pts', type: 'devpts', source: 'devpts', options: ['newinstance', 'ptmxmode=0666'] },
    ],
    linux: {
      cgroupsPath: `/${id}`,
      namespaces: ['pid', 'mount', 'ipc', 'uts', 'network'].map((type) => ({ type })),
      resources: limit ? { memory: { limit, swap: limit } } : {},
    },
  };
}

/** A CRI log as the streams that it holds; asserts that every line is whole. */
export async function readLog(path: string): Promise<{ stream: string; tag: string; text: string; at: number }[]> {
  const log = await readFile(path, 'latin1');
  assert.ok(log === '' || log.endsWith('\n'), 'the last line is torn');
  return log
    .split('\n')
    .slice(0, -1)
    .map((line) => {
      const match = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3})\d{6}(Z) (stdout|stderr) ([PF]) (.*)$/s.exec(line);
      assert.ok(match, `not a line of a CRI log: ${JSON.stringify(line.slice(0, 120))}`);
      return { stream: match[3]!, tag: match[4]!, text: match[5]!, at: Date.parse(match[1]! + match[2]!) };
    });
}
