import { isObject } from '../base/json.ts';

/**
 * Reads one value of a record's JSON. What is absent has a default: it is younger than the record. Throws an Error that names
 * the field if the value is something else.
 */
export type Decode<T> = (value: unknown, at: string) => T;

/** The value is not quoted: it may be what a pod was not to show, as environments are. */
const wrong = (at: string, what: string, value: unknown) => new Error(`${at} must be ${what}, and is ${kindOf(value)}`);

const kindOf = (value: unknown): string => {
  if (value === undefined) return 'absent';
  if (value === null) return 'null';
  return Array.isArray(value) ? 'a list' : typeof value === 'object' ? 'an object' : `another ${typeof value}`;
};

function primitive<T>(what: string, is: (value: unknown) => value is T, fallback?: T): Decode<T> {
  return (value, at) => {
    if (is(value)) return value;
    if (value === undefined && fallback !== undefined) return fallback;
    throw wrong(at, what, value);
  };
}

const isText = (value: unknown): value is string => typeof value === 'string';
const isNumber = (value: unknown): value is number => typeof value === 'number';
const isFlag = (value: unknown): value is boolean => typeof value === 'boolean';

export const text = (fallback = ''): Decode<string> => primitive('a text', isText, fallback);
export const number = (fallback = 0): Decode<number> => primitive('a number', isNumber, fallback);
export const flag = (fallback = false): Decode<boolean> => primitive('true or false', isFlag, fallback);
/** What a record cannot be without. */
export const requiredText = <T extends string>(): Decode<T> =>
  primitive('a text', isText as (value: unknown) => value is T);

export const oneOf = <const T extends string>(values: readonly T[], fallback?: T): Decode<T> =>
  primitive(`one of ${values}`, (value): value is T => values.includes(value as T), fallback);

export const anything: Decode<unknown> = (value) => value ?? null;

/** Absent: empty. */
export const list =
  <T>(item: Decode<T>): Decode<readonly T[]> =>
  (value, at) => {
    if (value === undefined) return [];
    if (!Array.isArray(value)) throw wrong(at, 'a list', value);
    return value.map((each, index) => item(each, `${at}[${index}]`));
  };

/** Absent: empty. */
export const texts: Decode<Readonly<Record<string, string>>> = (value, at) => {
  if (value === undefined) return {};
  if (!isObject(value)) throw wrong(at, 'a table', value);
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, text()(each, `${at}.${key}`)]));
};

export const nullable =
  <T>(inner: Decode<T>): Decode<T | null> =>
  (value, at) =>
    value === undefined || value === null ? null : inner(value, at);

export const optional =
  <T>(inner: Decode<T>): Decode<T | undefined> =>
  (value, at) =>
    value === undefined ? undefined : inner(value, at);

type Fields<T> = { readonly [Key in keyof T]-?: Decode<T[Key]> };

/**
 * Every field by its own rule; absent, all have their defaults. Fields that this version does not know stay: a later one,
 * which wrote them, may come back.
 */
export const object =
  <T>(fields: Fields<T>): Decode<T> =>
  (value, at) => {
    if (value !== undefined && !isObject(value)) throw wrong(at, 'an object', value);
    const given = value ?? {};
    const known = Object.entries<Decode<unknown>>(fields).flatMap(([key, decode]) => {
      const decoded = decode(given[key], at === '' ? key : `${at}.${key}`);
      return decoded === undefined ? [] : [[key, decoded]];
    });
    return { ...given, ...Object.fromEntries(known) } as T;
  };

/** One of several objects, told apart by the text in `key`. */
export const variant =
  <T>(key: string, kinds: Readonly<Record<string, Decode<T>>>): Decode<T> =>
  (value, at) => {
    const kind = isObject(value) ? value[key] : undefined;
    const decode = typeof kind === 'string' && Object.hasOwn(kinds, kind) ? kinds[kind] : undefined;
    if (!decode) throw wrong(`${at}.${key}`, `one of ${Object.keys(kinds)}`, kind);
    return decode(value, at);
  };
