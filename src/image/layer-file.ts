import { Fault } from '../base/fault.ts';
import { algorithmOf } from '../model/ids.ts';
import { Digester } from './digest.ts';
import { translateLayerError } from './layer-errors.ts';
import { type BlobPieces, expectDigest, type UnpackJob } from './layer-stream.ts';
import { type LayerNotes, LayerWriter } from './layer-writer.ts';
import type { Entry } from './tar.ts';

/** A blob says nothing of the file that it is: one that anybody may read, root's. */
const plain: Omit<Entry, 'path'> = {
  type: 'file',
  link: '',
  mode: 0o644,
  uid: 0,
  gid: 0,
  size: 0,
  seconds: 0,
  nanoseconds: 0,
  major: 0,
  minor: 0,
  xattrs: new Map(),
  sparse: false,
};

/**
 * Writes a blob of an artifact, as it is, to the file `name` in `job.path`, and checks its digest on the way.
 * @throws Fault DataLoss, ResourceExhausted.
 */
export async function unpackFile(
  source: BlobPieces,
  job: UnpackJob,
  name: string,
  onStep: () => void = () => {},
): Promise<LayerNotes> {
  const { digest, path, limits } = job;
  if (digest === null) throw new Fault('Internal', `Nobody stated the digest of the file ${JSON.stringify(name)}`);
  const digester = new Digester(algorithmOf(digest));
  using writer = new LayerWriter(path, limits);
  try {
    writer.entry({ ...plain, path: name }, null);
    let position = 0;
    for await (const chunk of source) {
      digester.update(chunk);
      writer.write(chunk, position);
      position += chunk.length;
      source.taken?.(chunk);
      onStep();
    }
    writer.end();
    expectDigest('Blob', digest, digester.digest());
    return writer.finish();
  } catch (error) {
    throw translateLayerError(error, digest, path);
  }
}
