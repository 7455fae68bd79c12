import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { buildCatalog } from './catalog.ts';
import { cacheFolder } from './paths.ts';
import { pushImage } from './push.ts';
import { type Registry, startRegistry } from './registry.ts';
import { filesOfHost } from './roots.ts';

export { buildCatalog } from './catalog.ts';
export { pushImage } from './push.ts';
export { type Registry, startRegistry } from './registry.ts';

/**
 * A registry on loopback that holds every test image. Builds them on first use (about a minute), then only starts the
 * registry over what the cache holds.
 */
export const startTestRegistry = async (): Promise<Registry> => startRegistry(await ensureTestImages());

/**
 * The folder with the test images as docker-registry stores them, named after what it was built from. BERTH_TEST_IMAGES names
 * it where it was made for: on a test's own host, and in the machine, which has nothing to make it of.
 */
export async function ensureTestImages(): Promise<string> {
  if (process.env.BERTH_TEST_IMAGES) return resolve(process.env.BERTH_TEST_IMAGES);
  const cache = cacheFolder('test-images');
  const storage = join(cache, await originHash());
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
  for (const name of readdirSync(cache)) {
    const old = join(cache, name);
    // Another run may still serve the one of before.
    if (old !== storage && Date.now() - statSync(old).mtimeMs > 24 * 3600 * 1000)
      rmSync(old, { recursive: true, force: true });
  }
  return storage;
}

async function fill(stage: string): Promise<void> {
  const images = await buildCatalog();
  await using registry = await startRegistry(stage);
  for (const image of images) await pushImage(registry.address, image);
}

/** Changes with every file that decides what an image holds: those here, and the host's programs and libraries. */
async function originHash(): Promise<string> {
  const hash = createHash('sha256');
  for (const name of readdirSync(import.meta.dirname).sort())
    hash.update(name).update(readFileSync(join(import.meta.dirname, name)));
  for (const path of await filesOfHost()) {
    const { size, mtimeMs } = statSync(path);
    hash.update(`${path} ${size} ${mtimeMs}\n`);
  }
  return hash.digest('hex').slice(0, 16);
}
