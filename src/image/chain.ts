import { createHash } from 'node:crypto';
import { type Digest, parseDigest } from '../model/ids.ts';

/** The chain ids of layers, bottom first: what each one is, given all below it (OCI image-spec, config.md). */
export function chainIds(diffIds: readonly Digest[]): Digest[] {
  const chain: Digest[] = [];
  for (const diffId of diffIds) {
    const below = chain.at(-1);
    chain.push(
      below ? parseDigest(`sha256:${createHash('sha256').update(`${below} ${diffId}`).digest('hex')}`) : diffId,
    );
  }
  return chain;
}
