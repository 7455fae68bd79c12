import { mkdir, readdir, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { isErrno, messageOf } from '../base/fault.ts';
import { log } from '../base/log.ts';
import { type Digest, type ImageId, isDigest } from '../model/ids.ts';
import { readBytes } from '../sys/read-file.ts';
import { tidy } from '../sys/tidy.ts';
import { isTemporary, replaceFile } from '../sys/write-file.ts';
import { digestOf } from './digest.ts';

/** The most that a document can have, whatever an operator sets. */
const mostBytes = 2 ** 30;

/**
 * The documents that images are named by, byte for byte: an image's config, an artifact's manifest. Each is a file beside its
 * image's record, written before that and removed after it; an image of an earlier version has none.
 */
export class KeptDocuments {
  readonly #folder: string;
  readonly #here: Set<ImageId>;

  private constructor(folder: string, here: Set<ImageId>) {
    this.#folder = folder;
    this.#here = here;
  }

  static async open(dataDir: string): Promise<KeptDocuments> {
    const folder = join(dataDir, 'documents');
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const here = new Set<ImageId>();
    for (const name of await readdir(folder)) {
      const id = name.replace('-', ':');
      if (isDigest(id)) here.add(id as string as ImageId);
      else if (isTemporary(name)) await tidy(() => unlink(join(folder, name)));
    }
    return new KeptDocuments(folder, here);
  }

  has(id: ImageId): boolean {
    return this.#here.has(id);
  }

  /** Keeps it in one step. It is on the disk when the image's layers are. */
  async keep(id: ImageId, document: Buffer): Promise<void> {
    if (this.#here.has(id)) return;
    await replaceFile(this.#path(id), document);
    this.#here.add(id);
  }

  /** The document, verified; null if there is none, or what is there is not it: a power failure may have torn it. */
  async read(id: ImageId): Promise<Buffer | null> {
    if (!this.#here.has(id)) return null;
    try {
      const document = await readBytes(this.#path(id), mostBytes);
      if ((digestOf(document, id as string as Digest) as string) === id) return document;
      log.warn({ image: id }, 'The kept document of an image is not what its digest says: pull the image again');
    } catch (error) {
      log.warn({ image: id, reason: messageOf(error) }, 'The kept document of an image cannot be read');
    }
    this.#here.delete(id); // the next pull of the image writes it anew
    return null;
  }

  /** Removes the documents of all other images. What the disk does not let go is tried again with the next call. */
  async keepOnly(isKept: (id: ImageId) => boolean): Promise<void> {
    for (const id of this.#here) {
      if (isKept(id)) continue;
      await tidy(() => this.#remove(id));
      this.#here.delete(id);
    }
  }

  async #remove(id: ImageId): Promise<void> {
    try {
      await unlink(this.#path(id));
    } catch (error) {
      if (!isErrno(error, 'ENOENT')) throw error;
    }
  }

  #path(id: ImageId): string {
    return join(this.#folder, id.replace(':', '-'));
  }
}
