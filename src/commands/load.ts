import { resolve } from 'node:path';
import { askDaemon } from './ask.ts';

/** Unpacking a large archive takes as long as it takes: one hour. */
const deadlineMs = 3_600_000;

/** `berth load FILE`: the daemon reads the file itself. Prints a line an image. */
export async function loadImages(socket: string, file: string): Promise<void> {
  const options = { deadline: Date.now() + deadlineMs };
  const { images } = await askDaemon(socket, (daemon) => daemon.loadImages({ path: resolve(file) }, options));
  for (const { id, tags } of images) process.stdout.write(`${id} ${tags.join(' ')}\n`);
}
