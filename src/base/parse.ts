import { parse, TomlError } from 'smol-toml';
import { messageOf } from './fault.ts';

/**
 * What a JSON text says. Every text is parsed by this or by `tomlOf`: the parsers' own errors quote it, and passwords stand in
 * files of credentials, in configurations, in what containers have as their environment.
 * @throws Error that says what is wrong and where, and quotes nothing
 */
export function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw jsonError(messageOf(error), text);
  }
}

/** The same of TOML. @throws as jsonOf does */
export function tomlOf(text: string): Record<string, unknown> {
  try {
    return parse(text);
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    const [, reason = 'it is wrong'] = /^Invalid TOML document: (.*)/.exec(error.message) ?? [];
    throw noText('TOML', reason, { line: error.line, col: error.column });
  }
}

type Place = { readonly line: number; readonly col: number };

/** The error for a text that is none of its format. It has no cause, which would quote it. */
export const noText = (format: string, why: string, at?: Place): Error =>
  new Error(`it is no ${format}: ${why}${at ? `, at line ${at.line}, column ${at.col}` : ''}`);

/** By V8's words where they are words alone; its complaint of a strange character is one by a quotation. */
function jsonError(message: string, text: string): Error {
  const [, words, line, col] =
    /^([^"\n]+) (?:in|after) JSON at position \d+ \(line (\d+) column (\d+)\)$/.exec(message) ?? [];
  if (words)
    return noText('JSON', words.charAt(0).toLowerCase() + words.slice(1), { line: Number(line), col: Number(col) });
  if (!isOfCharacter(message)) return noText('JSON', 'it ends too early');
  return noText('JSON', 'a character that cannot be there', placeOfCharacter(text));
}

const isOfCharacter = (message: string): boolean => message.startsWith('Unexpected token');

/** A longer text is not searched through. */
const mostSearched = 1 << 16;

/** V8 does not tell: every beginning of the text that is longer has the same fault, and no shorter one. */
function placeOfCharacter(text: string): Place | undefined {
  if (text.length > mostSearched) return undefined;
  let [without, having] = [0, text.length];
  while (having - without > 1) {
    const middle = (without + having) >> 1;
    if (isWrongIn(text.slice(0, middle))) having = middle;
    else without = middle;
  }
  const lines = text.slice(0, without).split('\n');
  return { line: lines.length, col: lines.at(-1)!.length + 1 };
}

function isWrongIn(text: string): boolean {
  try {
    JSON.parse(text);
    return false;
  } catch (error) {
    return isOfCharacter(messageOf(error));
  }
}
