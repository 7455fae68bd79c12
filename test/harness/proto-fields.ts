import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';

export type Field = {
  readonly name: string;
  /** As the interface spells it. */
  readonly proto: string;
  readonly type: string;
  readonly kind: 'single' | 'repeated' | 'map';
};

const source = readFileSync(resolve(import.meta.dirname, '../../proto/runtime/v1/cri.proto'), 'utf8');

/** Messages of the interface with their fields, in ts-proto's names; enums are those that are no message. */
export const messages: ReadonlyMap<string, readonly Field[]> = parse(source);

function parse(text: string): Map<string, Field[]> {
  const found = new Map<string, Field[]>();
  for (const [, name = '', body = ''] of text.matchAll(/^message (\w+) \{\n([\s\S]*?)^\}/gm)) {
    const flat = body.replace(/^ {2}enum [\s\S]*?^ {2}\}\n/gm, '');
    const fields = [...flat.matchAll(/^ {2}(repeated )?(map<string, string>|\w+) (\w+) = \d+/gm)].map(
      ([, repeated, type = '', field = '']): Field => ({
        proto: field,
        name: field.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase()),
        type: type.startsWith('map') ? 'string' : type,
        kind: type.startsWith('map') ? 'map' : repeated ? 'repeated' : 'single',
      }),
    );
    found.set(name, fields);
  }
  return found;
}

/** The messages that a client can send, and those in them. */
export function requestMessages(): string[] {
  const found = new Set([...source.matchAll(/^ {2}rpc \w+\((\w+)\)/gm)].map(([, name = '']) => name));
  for (const name of found) {
    for (const { type } of messages.get(name)!) if (messages.has(type)) found.add(type); // a set goes on with what is added
  }
  return [...found];
}

const strings = [
  '',
  'x'.repeat(1 << 20),
  'a\0b',
  'a\nb',
  '../../../../tmp/berth-tripwire',
  '/tmp/berth-tripwire',
  '__proto__',
  'constructor',
  '\u{1f4a5}',
  '%s%n',
  '-1',
  '$(touch /tmp/berth-tripwire)',
];
const values: Readonly<Record<string, readonly unknown[]>> = {
  string: strings,
  bool: [true],
  int32: [-1, 0, -(2 ** 31), 2 ** 31 - 1],
  uint32: [0, 2 ** 32 - 1],
  int64: [-1n, 0n, -(2n ** 63n), 2n ** 63n - 1n],
  uint64: [0n, 2n ** 64n - 1n],
  bytes: [new Uint8Array(3)],
  double: [Number.NaN, -1],
};
const enumValues = [-1, 99, 1, 2];

/** One field of a request and what to put there. */
export type Mutation = { readonly path: readonly string[]; readonly value: unknown };

/** Every hostile value for every field of a message, nested ones too; `undefined` takes a message away. */
export function mutations(message: string, depth = 6): Mutation[] {
  const fields = messages.get(message);
  if (!fields || depth === 0) return [];
  return fields.flatMap((field) =>
    [...mutationsOf(field, depth)].map(({ path, value }) => ({ path: [field.name, ...path], value })),
  );
}

function* mutationsOf({ type, kind }: Field, depth: number): Generator<Mutation> {
  const own = values[type] ?? (messages.has(type) ? [undefined] : enumValues);
  for (const value of own) {
    if (kind === 'map') {
      yield { path: [], value: { [String(value)]: 'x' } };
      yield { path: [], value: { x: value } };
    } else yield { path: [], value: kind === 'repeated' ? (value === undefined ? [{}] : [value]) : value };
  }
  if (!messages.has(type)) return;
  for (const { path, value } of mutations(type, depth - 1)) {
    yield kind === 'repeated' ? { path: [], value: [nested(path, value)] } : { path, value };
  }
}

const nested = (path: readonly string[], value: unknown): unknown =>
  path.reduceRight((inner: unknown, key) => ({ [key]: inner }), value);

/** A copy of `base` with the value at the path. */
export function mutated(base: unknown, { path, value }: Mutation): unknown {
  const [key, ...rest] = path;
  if (key === undefined) return value;
  const object = (base ?? {}) as Record<string, unknown>;
  return { ...object, [key]: mutated(object[key], { path: rest, value }) };
}
