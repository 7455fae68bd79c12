import { execFile } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { join } from 'node:path';

const folders = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin'];

/** The absolute path of a program from a package; the error names the package. */
export function program(name: string, fromPackage: string): string {
  for (const folder of folders) {
    const path = join(folder, name);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {} // not there: the next folder
  }
  throw new Error(`Cannot find ${name}: apt-get install ${fromPackage}`);
}

/** Runs a program to its end; rejects with the end of what it printed if it fails. Resolves to its standard output. */
export function run(
  path: string,
  args: readonly string[],
  options: { cwd?: string; timeoutMs?: number; env?: Record<string, string> } = {},
): Promise<string> {
  const env = { PATH: folders.join(':'), HOME: '/root', LC_ALL: 'C', ...options.env };
  return new Promise((done, fail) => {
    execFile(
      path,
      args,
      { cwd: options.cwd, env, timeout: options.timeoutMs ?? 300_000, maxBuffer: 64 << 20 },
      (error, stdout, stderr) => {
        if (!error) return done(stdout);
        fail(
          new Error(`${path} ${args.join(' ')}: ${error.code ?? error.signal}\n${`${stdout}${stderr}`.slice(-4000)}`),
        );
      },
    ).stdin?.end();
  });
}
