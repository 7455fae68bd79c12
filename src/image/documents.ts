import { Fault, invalidArgument } from '../base/fault.ts';
import { isObject } from '../base/json.ts';
import { jsonOf } from '../base/parse.ts';

export type Json = Record<string, unknown>;

/**
 * More than any document of an image has, by far: an index of thousands of images, a config with every label that it may have. It
 * is values that take the event loop's time: eight megabytes of them take seconds, as a few long texts some milliseconds.
 */
const mostValues = 100_000;

/**
 * Parses JSON that somebody else wrote. What is no UTF-8 in it becomes U+FFFD, as Go reads it: old builders wrote labels in
 * Latin-1. @throws Fault InvalidArgument naming `what`.
 */
export function parseValue(data: Buffer, what: string): unknown {
  if (hasMoreValues(data, mostValues)) throw invalidArgument(`The ${what} has more than ${mostValues} values`);
  try {
    return jsonOf(new TextDecoder('utf-8').decode(data));
  } catch (error) {
    throw new Fault('InvalidArgument', `The ${what} is not JSON`, { cause: error });
  }
}

/** The same, where only an object will do. */
export function parseJson(data: Buffer, what: string): Json {
  const value = parseValue(data, what);
  if (!isObject(value)) throw invalidArgument(`The ${what} is not a JSON object`);
  return value;
}

const [quote, backslash, comma, bracket, brace] = Buffer.from('"\\,[{');

/** Whether JSON, if it is that, has more than so many lists, objects and members of them. Texts are passed over. */
function hasMoreValues(data: Buffer, most: number): boolean {
  if (data.length <= most) return false;
  let values = 0;
  for (let at = 0; at < data.length; at++) {
    const byte = data[at];
    if (byte === quote) {
      for (at++; at < data.length && data[at] !== quote; at++) if (data[at] === backslash) at++;
    } else if ((byte === comma || byte === bracket || byte === brace) && ++values > most) return true;
  }
  return false;
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
