import type { Digest } from '../model/ids.ts';
import { digestOf } from './digest.ts';

/**
 * The chain ids of layers, bottom first: what each one is, given all below it (OCI image-spec, config.md). The lowest is
 * its diffID as the config has it; the others are sha256, as everybody computes them.
 */
export function chainIds(diffIds: readonly Digest[]): Digest[] {
  const chain: Digest[] = [];
  for (const diffId of diffIds) {
    const below = chain.at(-1);
    chain.push(below ? digestOf(Buffer.from(`${below} ${diffId}`)) : diffId);
  }
  return chain;
}
