/**
 * How Node must be started for `berth serve`. V8 otherwise keeps the garbage of busy moments: 160 MB where 85 MB do.
 * No client's words are ever code, no object's prototype is reached by name, and no signal opens a debugger.
 */
export const nodeFlags: readonly string[] = [
  '--optimize-for-size',
  '--max-semi-space-size=1',
  '--disable-proto=delete',
  '--disallow-code-generation-from-strings',
  '--disable-sigusr1',
];

/** glibc gives each thread an arena of its own, and the layer workers never give theirs back. */
export const nodeEnvironment = { MALLOC_ARENA_MAX: '1' } as const;
