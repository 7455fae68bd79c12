import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { cacheFolder } from './paths.ts';
import { program } from './run.ts';

/** A running registry on loopback. */
export type Registry = AsyncDisposable & {
  /** `127.0.0.1:port` */
  readonly address: string;
};

/** PEM files. */
export type TlsFiles = { readonly cert: string; readonly key: string };

/** Serves the images in `storage` with Debian's docker-registry on a free port until disposed; by TLS where `tls` is given. */
export async function startRegistry(storage: string, tls?: TlsFiles): Promise<Registry> {
  const address = `127.0.0.1:${await freePort()}`;
  const folder = mkdtempSync(join(cacheFolder('work'), 'registry-'));
  const config = join(folder, 'config.yml');
  writeFileSync(config, configText(storage, address, tls));
  const child = spawn(program('docker-registry', 'docker-registry'), ['serve', config], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: {},
  });
  const ended = once(child, 'close');
  let output = '';
  child.stderr.on('data', (chunk: Buffer) => {
    output = (output + chunk).slice(-4000);
  });
  const stop = async () => {
    child.kill('SIGTERM');
    await ended;
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    await answering(address, tls !== undefined, () => child.exitCode === null);
  } catch (error) {
    await stop();
    throw new Error(`docker-registry does not answer on ${address}: ${output}`, { cause: error });
  }
  return { address, [Symbol.asyncDispose]: stop };
}

const configText = (storage: string, address: string, tls?: TlsFiles) => `version: 0.1
log: { level: error, accesslog: { disabled: true } }
storage:
  filesystem: { rootdirectory: ${JSON.stringify(storage)} }
  delete: { enabled: true }
http: { addr: "${address}"${tls ? `, tls: { certificate: "${tls.cert}", key: "${tls.key}" }` : ''} }
`;

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  return port;
}

/** One that speaks TLS answers this too: that it does. */
async function answering(address: string, isTls: boolean, alive: () => boolean): Promise<void> {
  for (let left = 500; ; left--) {
    try {
      if ((await fetch(`http://${address}/v2/`)).ok || isTls) return;
    } catch (error) {
      if (left === 0 || !alive()) throw error;
    }
    await delay(20);
  }
}
