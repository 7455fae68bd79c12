import { createReadStream, createWriteStream } from 'node:fs';
import { mkdtemp, realpath, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { Fault } from '../base/fault.ts';
import { visible } from '../base/text.ts';
import { askDaemon } from './ask.ts';
import { remark, tell } from './tell.ts';

/** Unpacking a large archive takes as long as it takes: one hour. */
const deadlineMs = 3_600_000;

/**
 * `berth load FILE`: the daemon reads the file itself. Standard input (`-`) and pipes are written to a file first: an archive
 * is read from its end and its middle too. Prints a line an image, and to standard error what was passed over.
 * @throws Fault DataLoss that names what should have been loaded and was not; the rest is.
 */
export async function loadImages(socket: string, file: string): Promise<void> {
  await using spooled = await seekable(file);
  const options = { deadline: Date.now() + deadlineMs };
  const { images, passedOver, failed } = await askDaemon(socket, (daemon) =>
    daemon.loadImages({ path: spooled.path }, options),
  );
  for (const { id, tags } of images) tell(`${visible(`${id} ${tags.join(' ')}`)}\n`);
  for (const note of passedOver) remark(`passed over: ${note}`);
  if (failed.length === 0) return;
  const reasons = failed.map((note) => `\n  ${visible(note)}`).join('');
  throw new Fault('DataLoss', `${failed.length} of ${failed.length + images.length} images were not loaded:${reasons}`);
}

type Seekable = AsyncDisposable & { readonly path: string };

async function seekable(file: string): Promise<Seekable> {
  const found = file === '-' ? null : await stat(file).catch(() => null);
  if (file !== '-' && !found?.isFIFO()) {
    // /dev/stdin is another file to the daemon.
    const path = await realpath(file).catch(() => resolve(file));
    return { path, [Symbol.asyncDispose]: async () => {} };
  }
  const folder = await mkdtemp(join(tmpdir(), 'berth-load-'));
  const dispose = () => rm(folder, { recursive: true, force: true });
  const path = join(folder, 'archive');
  try {
    await pipeline(file === '-' ? process.stdin : createReadStream(file), createWriteStream(path, { mode: 0o600 }));
    return { path, [Symbol.asyncDispose]: dispose };
  } catch (error) {
    await dispose();
    throw error;
  }
}
