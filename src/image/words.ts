import { jsonOf } from '../base/parse.ts';

// What servers say of an error.
type ErrorDocument = {
  readonly errors?: readonly { readonly code?: unknown; readonly message?: unknown }[];
  readonly [word: string]: unknown;
};

/**
 * What a server says of an error, printable and short: the messages of a registry's error document (distribution-spec,
 * "Error Codes"), the word or two that token services give (RFC 6749, 5.2, and Docker Hub's `details`), or a line of text.
 */
export function wordsOf(body: Buffer): string {
  const text = body.toString('utf8').trim();
  return clean(wordsOfJson(text) ?? (/^[^<{[]/.test(text) ? text.split('\n', 1)[0]! : '')); // no pages
}

function wordsOfJson(text: string): string | null {
  try {
    const json = jsonOf(text) as ErrorDocument | null;
    if (Array.isArray(json?.errors))
      return json.errors.map(({ code, message }) => [code, message].filter(Boolean).join(': ')).join('; ');
    const words = ['error', 'error_description', 'message', 'details'].map((name) => json?.[name]);
    return words.filter((word) => typeof word === 'string').join(': ');
  } catch {
    return null; // not every server in the way speaks JSON
  }
}

const clean = (text: string): string => text.replace(/[^\x20-\x7e]/g, '?').slice(0, 300);
