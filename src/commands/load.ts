import { resolve } from 'node:path';
import { credentials } from '@grpc/grpc-js';
import { AdminClient, type LoadImagesResponse } from '../api/berth/v1/admin.ts';
import { Fault } from '../base/fault.ts';

/** `berth load FILE`: the daemon reads the file itself. Prints a line an image. */
export async function loadImages(socket: string, files: readonly string[]): Promise<void> {
  const [file, ...more] = files;
  if (file === undefined || more.length > 0) throw new Fault('InvalidArgument', 'load takes exactly one file');
  const client = new AdminClient(`unix://${socket}`, credentials.createInsecure(), {
    'grpc.default_authority': 'localhost',
  });
  try {
    const { promise, resolve: done, reject } = Promise.withResolvers<LoadImagesResponse>();
    client.loadImages({ path: resolve(file) }, (error, response) =>
      error ? reject(new Error(error.details)) : done(response),
    );
    for (const { id, tags } of (await promise).images) process.stdout.write(`${id} ${tags.join(' ')}\n`);
  } finally {
    client.close();
  }
}
