// How fuzzers run: each target for a second, or for BERTH_FUZZ_SECONDS. The seed of a finding is in its message, and
// BERTH_FUZZ_SEED runs it again.
import { Fault } from '../../src/base/fault.ts';

const milliseconds = Number(process.env.BERTH_FUZZ_SECONDS ?? 1) * 1000;
const firstSeed = Number(process.env.BERTH_FUZZ_SEED ?? Date.now() % 1e9);

/** mulberry32: small, and the same everywhere. */
function randomFrom(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * below);
  };
}
export type Random = ReturnType<typeof randomFrom>;

export const pick = <T>(random: Random, from: readonly T[]): T => from[random(from.length)]!;

/** Runs `once` with new seeds until the time is up. A Fault is an answer; anything else is a finding. */
export async function fuzz(once: (random: Random) => unknown): Promise<number> {
  const end = performance.now() + milliseconds;
  let runs = 0;
  for (let seed = firstSeed; runs === 0 || (performance.now() < end && !process.env.BERTH_FUZZ_SEED); seed++, runs++) {
    try {
      await once(randomFrom(seed));
    } catch (error) {
      if (error instanceof Fault && error.kind !== 'Internal') continue;
      throw new Error(`BERTH_FUZZ_SEED=${seed}`, { cause: error });
    }
  }
  return runs;
}

export const interesting = [0, 1, 0x20, 0x2f, 0x2e, 0x30, 0x37, 0x7f, 0x80, 0xff];

/** Flips, overwrites, repeats, removes or moves a few pieces. */
export function damaged(data: Buffer, random: Random, most = 6): Buffer {
  let result = Buffer.from(data);
  for (let left = 1 + random(most); left > 0 && result.length > 0; left--) {
    const at = random(result.length);
    const length = 1 + random(Math.min(600, result.length - at));
    switch (random(6)) {
      case 0:
        result[at]! ^= 1 << random(8);
        break;
      case 1:
        result[at] = interesting[random(interesting.length)]!;
        break;
      case 2:
        result.fill(interesting[random(interesting.length)]!, at, at + Math.min(length, 12));
        break;
      case 3:
        result = Buffer.concat([result.subarray(0, at), result.subarray(at + length)]);
        break;
      case 4:
        result = Buffer.concat([result.subarray(0, at + length), result.subarray(at)]);
        break;
      default:
        result = result.subarray(0, at);
    }
  }
  return result;
}
