import { Fault, invalidArgument } from '../base/fault.ts';
import { isObject } from '../base/json.ts';
import { jsonOf } from '../base/parse.ts';

export type Json = Record<string, unknown>;

/**
 * Parses JSON that somebody else wrote. What is no UTF-8 in it becomes U+FFFD, as Go reads it: old builders wrote labels in
 * Latin-1. @throws Fault InvalidArgument naming `what`.
 */
export function parseJson(data: Buffer, what: string): Json {
  let value: unknown;
  try {
    value = jsonOf(new TextDecoder('utf-8').decode(data));
  } catch (error) {
    throw new Fault('InvalidArgument', `The ${what} is not JSON`, { cause: error });
  }
  if (!isObject(value)) throw invalidArgument(`The ${what} is not a JSON object`);
  return value;
}

/** As encoding/json of Go folds names: without case, with the two letters outside ASCII that are one of its own in another. */
export const folded = (name: string): string => name.toLowerCase().replaceAll('ſ', 's');

/**
 * No kind of object that has fields, rather than names of somebody's own, has 30 of them. Half a million in a document, looked through
 * for each field that is asked for, would take the event loop for a second.
 */
const mostFields = 1000;

/**
 * What a document has under a name, as Go's programs read it: whatever the case of its letters, and of several such keys the
 * last that is not null. An image whose `entrypoint` they honour would otherwise run as something else here.
 */
export function field(json: Json, name: string): unknown {
  const wanted = folded(name);
  let found: unknown;
  let fields = 0;
  for (const key in json) {
    if (++fields > mostFields) throw invalidArgument(`A document has an object of more than ${mostFields} fields`);
    if (key.length !== name.length || folded(key) !== wanted || !Object.hasOwn(json, key)) continue;
    found = json[key] ?? found;
  }
  return found;
}

export const text = (value: unknown): string => (typeof value === 'string' ? value : '');
