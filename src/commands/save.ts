import { resolve } from 'node:path';
import { amount } from './amounts.ts';
import { askDaemon } from './ask.ts';
import { complain, tell } from './tell.ts';

/** Packing a large image takes as long as it takes: one hour. */
const deadlineMs = 3_600_000;

/** `berth save IMAGE FILE`: the daemon writes the file itself. */
export async function saveImageTo(socket: string, image: string, file: string): Promise<void> {
  const options = { deadline: Date.now() + deadlineMs };
  const saved = await askDaemon(socket, (daemon) => daemon.saveImage({ image, path: resolve(file) }, options));
  tell(`${file}: ${amount(Number(saved.bytes))}; loaded again, its id is ${saved.id}\n`);
  if (saved.note !== '') complain(saved.note);
}
