import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { buildCatalog } from './catalog.ts';
import { cacheFolder } from './paths.ts';
import { pushImage } from './push.ts';
import { type Registry, startRegistry } from './registry.ts';

export { buildCatalog } from './catalog.ts';
export { pushImage } from './push.ts';
export { type Registry, startRegistry } from './registry.ts';

/**
 * A registry on loopback that holds every test image. Builds them on first use (about a minute), then only starts the
 * registry over what the cache holds.
 */
export const startTestRegistry = async (): Promise<Registry> => startRegistry(await ensureTestImages());

/** The folder with the test images as docker-registry stores them, named after the sources that it was built from. */
export async function ensureTestImages(): Promise<string> {
  const cache = cacheFolder('test-images');
  const storage = join(cache, sourcesHash());
  if (existsSync(storage)) return storage;
  const stage = mkdtempSync(join(cacheFolder('work'), 'images-'));
  try {
    await fill(stage);
    renameSync(stage, storage);
  } catch (error) {
    rmSync(stage, { recursive: true, force: true });
    if (existsSync(storage)) return storage; // another run was first
    throw error;
  }
  for (const name of readdirSync(cache).filter((each) => join(cache, each) !== storage)) {
    rmSync(join(cache, name), { recursive: true, force: true });
  }
  return storage;
}

async function fill(stage: string): Promise<void> {
  const images = await buildCatalog();
  await using registry = await startRegistry(stage);
  for (const image of images) await pushImage(registry.address, image);
}

/** Changes with every file that decides what an image holds. */
function sourcesHash(): string {
  const hash = createHash('sha256');
  for (const name of readdirSync(import.meta.dirname).sort())
    hash.update(name).update(readFileSync(join(import.meta.dirname, name)));
  return hash.digest('hex').slice(0, 16);
}
