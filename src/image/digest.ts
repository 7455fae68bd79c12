import { createHash, type Hash } from 'node:crypto';
import { algorithmOf, type Digest, type DigestAlgorithm } from '../model/ids.ts';

/** Computes the digest of content as it passes. */
export class Digester {
  readonly algorithm: DigestAlgorithm;
  readonly #hash: Hash;

  constructor(algorithm: DigestAlgorithm) {
    this.algorithm = algorithm;
    this.#hash = createHash(algorithm);
  }

  update(data: Uint8Array): void {
    this.#hash.update(data);
  }

  /** To be asked once, at the end. */
  digest(): Digest {
    return `${this.algorithm}:${this.#hash.digest('hex')}` as Digest;
  }
}

/** The digest of `data`, by the algorithm of the one that is expected of it; sha256 where none is. */
export function digestOf(data: Uint8Array, expected: Digest | null = null): Digest {
  const digester = new Digester(expected ? algorithmOf(expected) : 'sha256');
  digester.update(data);
  return digester.digest();
}
