import { constants } from 'node:os';

const names = new Map<number, string>();
// Two names may share a number (EAGAIN and EWOULDBLOCK); the first in the alphabet is the usual one.
for (const [name, number] of Object.entries(constants.errno).sort()) if (!names.has(number)) names.set(number, name);

/** The name of a positive errno, such as `ENOENT`; `errno 123` for one without a name here. */
export const errnoName = (errno: number): string => names.get(errno) ?? `errno ${errno}`;
