import { isDeepStrictEqual } from 'node:util';

/** True for what JSON calls an object: no list, and not null. */
export const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** True if both are the same JSON, whatever the order of their keys; what is undefined is not there. */
export const sameJson = (one: unknown, other: unknown): boolean => isDeepStrictEqual(plain(one), plain(other));

const plain = (value: unknown): unknown => JSON.parse(JSON.stringify(value));
