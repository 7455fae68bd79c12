import { jsonOf } from '../base/parse.ts';

// What servers say of an error.

type Part = { readonly code?: unknown; readonly message?: unknown };
type ErrorDocument = { readonly errors?: unknown; readonly error?: unknown; readonly [word: string]: unknown };

/**
 * What a server says of an error, printable and short: the messages of a registry's error document (distribution-spec,
 * "Error Codes"), the word or two that token services give (RFC 6749, 5.2, and Docker Hub's `details`), what stores of objects say in
 * XML, the title of a page, or a line of text.
 */
export function wordsOf(body: Buffer): string {
  const text = body.toString('utf8').trim();
  return clean(wordsOfJson(text) ?? wordsOfMarkup(text) ?? (/^[^<{[]/.test(text) ? text.split('\n', 1)[0]! : ''));
}

/** By these names frameworks give theirs; problem documents (RFC 9457) have the third and fourth. */
const names = ['error', 'error_description', 'title', 'detail', 'message', 'details', 'reason'];

function wordsOfJson(text: string): string | null {
  try {
    const json = jsonOf(text) as ErrorDocument | null;
    if (Array.isArray(json?.errors)) return json.errors.map(wordsOfPart).join('; ');
    if (typeof json?.error === 'object' && json.error) return wordsOfPart(json.error);
    return names
      .map((name) => json?.[name])
      .filter((word) => typeof word === 'string')
      .join(': ');
  } catch {
    return null; // not every server in the way speaks JSON
  }
}

function wordsOfPart(part: unknown): string {
  if (typeof part === 'string') return part;
  const { code, message } = (part ?? {}) as Part;
  return [code, message].filter((word) => word && typeof word !== 'object').join(': ');
}

/** S3 and its like, and what proxies write for people. */
function wordsOfMarkup(text: string): string | null {
  const [, code, message] = /<Code>([^<]*)<\/Code>\s*<Message>([^<]*)<\/Message>/.exec(text) ?? [];
  if (code !== undefined) return [code, message].filter(Boolean).join(': ');
  return /<title>([^<]*)<\/title>/i.exec(text)?.[1]?.trim() ?? null;
}

const clean = (text: string): string => text.replace(/[^\x20-\x7e]/g, '?').slice(0, 300);
