// A real registry (Debian's docker-registry) on a loopback port of its own, with a directory of its own.
import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

export type Registry = AsyncDisposable & {
  /** `127.0.0.1:<port>` */
  readonly host: string;
  /** Where it keeps its files. */
  readonly root: string;
};

export type RegistryOptions = {
  /** An htpasswd line (bcrypt): the registry wants Basic credentials. */
  readonly htpasswd?: string;
  /** The registry wants tokens that are signed by this certificate's key. */
  readonly token?: {
    readonly realm: string;
    readonly service: string;
    readonly issuer: string;
    readonly certificate: string;
  };
};

/** Starts it and waits until it listens. */
export async function startRegistry(options: RegistryOptions = {}): Promise<Registry> {
  const root = await mkdtemp(join(tmpdir(), 'berth-registry-'));
  const config: Record<string, unknown> = {
    version: 0.1,
    log: { level: 'info', accesslog: { disabled: true } },
    storage: { filesystem: { rootdirectory: join(root, 'data') }, delete: { enabled: true } },
    http: { addr: '127.0.0.1:0' },
  };
  if (options.htpasswd) {
    await writeFile(join(root, 'htpasswd'), `${options.htpasswd}\n`);
    config.auth = { htpasswd: { realm: 'test', path: join(root, 'htpasswd') } };
  }
  if (options.token) {
    await writeFile(join(root, 'token.crt'), options.token.certificate);
    const { realm, service, issuer } = options.token;
    config.auth = { token: { realm, service, issuer, rootcertbundle: join(root, 'token.crt') } };
  }
  await writeFile(join(root, 'config.yml'), JSON.stringify(config)); // JSON is YAML
  const child = spawn('/usr/bin/docker-registry', ['serve', join(root, 'config.yml')], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const exited = new Promise<void>((resolve) => {
    child.once('exit', () => resolve());
  });
  const lines: string[] = [];
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  createInterface({ input: child.stderr }).on('line', (line) => {
    lines.push(line);
    const port = /listening on 127\.0\.0\.1:(\d+)/.exec(line)?.[1];
    if (port) resolve(`127.0.0.1:${port}`);
  });
  child.once('error', reject);
  exited.then(() => reject(new Error(`docker-registry ended:\n${lines.join('\n')}`)));
  const stop = async () => {
    child.kill('SIGKILL');
    await exited;
    await rm(root, { recursive: true, force: true });
  };
  try {
    return { host: await promise, root: join(root, 'data'), [Symbol.asyncDispose]: stop };
  } catch (error) {
    await stop();
    throw error;
  }
}
