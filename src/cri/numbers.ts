// Numbers of records and of the kernel as CRI's 64-bit integers. Encoding throws on what does not fit; none of these do.

const bounds = { int64: [-(1n << 63n), (1n << 63n) - 1n], uint64: [0n, (1n << 64n) - 1n] } as const;
/** Above every 64-bit integer, and a number that BigInt takes. */
const huge = 2 ** 80;

function fitting(kind: keyof typeof bounds, value: number, times: bigint): bigint {
  const [least, most] = bounds[kind];
  // What a record lacks, or holds as another type, is no number either.
  const number = typeof value === 'number' && !Number.isNaN(value) ? value : 0;
  const whole = BigInt(Math.round(Math.min(Math.max(number, -huge), huge))) * times;
  return whole < least ? least : whole > most ? most : whole;
}

/** The nearest that fits, times `times`; 0 for what is no number. */
export const int64 = (value: number, times = 1n): bigint => fitting('int64', value, times);
export const uint64 = (value: number, times = 1n): bigint => fitting('uint64', value, times);

/** CRI times are nanoseconds since the epoch; records hold milliseconds, with a fraction. 0 stays 0: "not yet". */
export const nanoseconds = (ms: number): bigint => int64(ms * 1000, 1000n);
