import { setFlagsFromString } from 'node:v8';

/**
 * How Node must be started for `berth serve`. V8 otherwise keeps the garbage of busy moments: 160 MB where 85 MB do. No
 * object's prototype is reached by name, and no signal opens a debugger.
 */
export const nodeFlags: readonly string[] = ['--max-semi-space-size=1', '--disable-proto=delete', '--disable-sigusr1'];

/** glibc gives each thread an arena of its own, and the layer workers never give theirs back. */
export const nodeEnvironment = { MALLOC_ARENA_MAX: '1' } as const;

/**
 * Memory before speed, from now on. As an option on the command line it would cost 25 ms of each start, since V8 then does
 * not take what Node and the bundle have compiled beforehand.
 */
export const keepSmall = (): void => setFlagsFromString('--optimize-for-size');
