import { Fault, invalidArgument } from '../base/fault.ts';
import { isObject } from '../base/json.ts';

export type Json = Record<string, unknown>;

/**
 * Parses JSON that somebody else wrote. What is no UTF-8 in it becomes U+FFFD, as Go reads it: old builders wrote labels in
 * Latin-1. @throws Fault InvalidArgument naming `what`.
 */
export function parseJson(data: Buffer, what: string): Json {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8').decode(data));
  } catch (error) {
    throw new Fault('InvalidArgument', `The ${what} is not JSON`, { cause: error });
  }
  if (!isObject(value)) throw invalidArgument(`The ${what} is not a JSON object`);
  return value;
}

/** As encoding/json of Go folds names: without case, with the two letters outside ASCII that are one of its own in another. */
export const folded = (name: string): string => name.toLowerCase().replaceAll('ſ', 's');

/**
 * What a document has under a name, as Go's programs read it: whatever the case of its letters, and of several such keys the
 * last that is not null. An image whose `entrypoint` they honour would otherwise run as something else here.
 */
export function field(json: Json, name: string): unknown {
  const wanted = folded(name);
  let found: unknown;
  for (const key in json) if (folded(key) === wanted && Object.hasOwn(json, key)) found = json[key] ?? found;
  return found;
}

export const text = (value: unknown): string => (typeof value === 'string' ? value : '');
