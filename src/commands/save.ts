import { resolve } from 'node:path';
import * as admin from '../api/berth/v1/admin.ts';
import { Fault } from '../base/fault.ts';
import { amount } from './amounts.ts';
import { connectTo } from './rpc.ts';

/** Packing a large image takes as long as it takes: one hour. */
const deadlineMs = 3_600_000;

/** `berth save IMAGE FILE`: the daemon writes the file itself. */
export async function saveImageTo(socket: string, args: readonly string[]): Promise<void> {
  const [image, file, ...more] = args;
  if (image === undefined || file === undefined || more.length > 0) {
    throw new Fault('InvalidArgument', 'save takes an image and a file');
  }
  const client = connectTo(admin.AdminClient, admin, socket);
  try {
    const saved = await client.saveImage({ image, path: resolve(file) }, { deadline: Date.now() + deadlineMs });
    process.stdout.write(`${file}: ${amount(Number(saved.bytes))}; loaded again, its id is ${saved.id}\n`);
  } finally {
    client.close();
  }
}
