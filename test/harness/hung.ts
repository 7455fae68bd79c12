// Paths that hang: a file system that answers nothing, and one that is frozen.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { isErrno } from '../../src/base/fault.ts';
import { readersOf } from '../../src/lifecycle/lasting-files.ts';
import { unmount } from '../../src/sys/mounts.ts';
import { compiled } from './compile.ts';

/** A mount that hangs until the end of the scope. */
export class Hung implements AsyncDisposable {
  readonly path: string;
  readonly #server: ReturnType<typeof spawn>;

  private constructor(path: string, server: ReturnType<typeof spawn>) {
    this.path = path;
    this.#server = server;
  }

  /** With `taking` who waits for it cannot be killed. */
  static async at(path: string, { taking = false } = {}): Promise<Hung> {
    if (!existsSync('/dev/fuse')) execFileSync('/usr/bin/mknod', ['/dev/fuse', 'c', '10', '229']);
    mkdirSync(path, { recursive: true });
    const program = await compiled(join(import.meta.dirname, 'silent-fuse.c'));
    const server = spawn(program, [path, ...(taking ? ['taking'] : [])], { stdio: ['pipe', 'pipe', 'inherit'] });
    const failed = once(server, 'exit').then(([code]) => assert.fail(`It does not mount: ${code}`));
    failed.catch(() => {});
    await Promise.race([once(server.stdout!, 'data'), failed]);
    return new Hung(path, server);
  }

  /** From now on it answers with an error. */
  async answer(): Promise<void> {
    if (this.#server.exitCode !== null) return;
    const end = once(this.#server, 'exit');
    this.#server.stdin!.end();
    await end;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.answer();
    unmount(this.path, { detach: true });
  }
}

/** An ext4 of a few megabytes, which can be frozen: who writes to it then waits, and cannot be killed. */
export class Freezable implements Disposable {
  readonly path: string;
  readonly #image: string;
  #frozen = false;

  constructor(path: string) {
    this.path = path;
    this.#image = `${path}.img`;
    makeLoopNodes();
    mkdirSync(path, { recursive: true });
    execFileSync('/usr/bin/truncate', ['-s', '16M', this.#image]);
    execFileSync('/usr/sbin/mkfs.ext4', ['-q', this.#image]);
    execFileSync('/usr/bin/mount', ['-o', 'loop', this.#image, path]);
  }

  freeze(): void {
    execFileSync('/usr/sbin/fsfreeze', ['--freeze', this.path]);
    this.#frozen = true;
  }

  thaw(): void {
    if (this.#frozen) execFileSync('/usr/sbin/fsfreeze', ['--unfreeze', this.path]);
    this.#frozen = false;
  }

  [Symbol.dispose](): void {
    this.thaw();
    unmount(this.path, { detach: true });
    rmSync(this.#image);
  }
}

/** In a /dev of the test's own. */
function makeLoopNodes(): void {
  const make = (name: string, ...numbers: string[]) => {
    if (!existsSync(`/dev/${name}`)) execFileSync('/usr/bin/mknod', [`/dev/${name}`, ...numbers]);
  };
  make('loop-control', 'c', '10', '237');
  for (let i = 0; i < 64; i++) make(`loop${i}`, 'b', '7', `${i}`);
}

export type Seen = { readonly pid: number; readonly state: string };

/** The processes of this name that have not ended, and that descend from this one; but for those that go on reading for the daemon. */
export const processesNamed = (name: string, ancestor: number): Seen[] =>
  readdirSync('/proc')
    .filter((pid) => /^\d+$/.test(pid))
    .flatMap((pid) => {
      const found = look(Number(pid));
      return found?.name === name && !/[ZX]/.test(found.state) && isBelow(Number(pid), ancestor) && !isLasting(pid)
        ? [{ pid: Number(pid), state: found.state }]
        : [];
    });

function isLasting(pid: string): boolean {
  try {
    const [, what] = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
    return [readersOf.networks, readersOf.plugins, readersOf.ociRuntimes].some((each) => each === what);
  } catch {
    return false; // it ended while we looked, and the next look does not see it
  }
}

/** Null: it has ended, and was reaped. */
export const stateOf = (pid: number): string | null => look(pid)?.state ?? null;

function isBelow(pid: number, ancestor: number): boolean {
  for (let at = pid; at > 1; at = look(at)?.parent ?? 0) if (at === ancestor) return true;
  return false;
}

function look(pid: number): { name: string; state: string; parent: number } | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const end = stat.lastIndexOf(')');
    const [state = '', parent] = stat.slice(end + 2).split(' ');
    return { name: stat.slice(stat.indexOf('(') + 1, end), state, parent: Number(parent) };
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ESRCH')) return null;
    throw error;
  }
}
