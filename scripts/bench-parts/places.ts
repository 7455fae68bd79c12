// The addresses that images are pulled from, of one storage.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { startRegistry } from '../../test/images/index.ts';
import { cacheFolder } from '../../test/images/paths.ts';
import { makeCertificate } from '../../test/registry/certificate.ts';
import type { From } from './pull-cases.ts';

export type Places = AsyncDisposable & Readonly<Record<From, string>>;

/** Serves `storage` at each of the places until disposed. */
export async function startPlaces(storage: string): Promise<Places> {
  const stack = new AsyncDisposableStack();
  try {
    const { address: here } = stack.use(await startRegistry(storage));
    const folder = mkdtempSync(join(cacheFolder('work'), 'tls-'));
    stack.defer(() => rmSync(folder, { recursive: true }));
    const { cert, key } = makeCertificate();
    const files = { cert: join(folder, 'cert.pem'), key: join(folder, 'key.pem') };
    writeFileSync(files.cert, cert);
    writeFileSync(files.key, key, { mode: 0o600 });
    const { address: tls } = stack.use(await startRegistry(storage, files));
    const far = await startFar(here, stack);
    return { here, tls, far, [Symbol.asyncDispose]: () => stack.disposeAsync() };
  } catch (error) {
    await stack.disposeAsync();
    throw error;
  }
}

async function startFar(address: string, stack: AsyncDisposableStack): Promise<string> {
  const port = address.slice(address.lastIndexOf(':') + 1);
  const child = spawn(process.execPath, [join(import.meta.dirname, 'far.ts'), port], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = once(child, 'close');
  stack.defer(async () => {
    child.kill();
    await ended;
  });
  const [line] = (await once(createInterface(child.stdout), 'line')) as [string];
  return `127.0.0.1:${line}`;
}
