import { resolve } from 'node:path';
import * as admin from '../api/berth/v1/admin.ts';
import { Fault } from '../base/fault.ts';
import { connectTo } from './rpc.ts';

/** Unpacking a large archive takes as long as it takes: one hour. */
const deadlineMs = 3_600_000;

/** `berth load FILE`: the daemon reads the file itself. Prints a line an image. */
export async function loadImages(socket: string, files: readonly string[]): Promise<void> {
  const [file, ...more] = files;
  if (file === undefined || more.length > 0) throw new Fault('InvalidArgument', 'load takes exactly one file');
  const client = connectTo(admin.AdminClient, admin, socket);
  try {
    const { images } = await client.loadImages({ path: resolve(file) }, { deadline: Date.now() + deadlineMs });
    for (const { id, tags } of images) process.stdout.write(`${id} ${tags.join(' ')}\n`);
  } finally {
    client.close();
  }
}
