/** The beginning of a text, in at most so many bytes of UTF-8; no character is cut in two. */
export function firstBytes(text: string, limit: number): string {
  const bytes = Buffer.from(text.slice(0, limit));
  return bytes.length <= limit
    ? bytes.toString()
    : bytes
        .subarray(0, limit)
        .toString()
        .replace(/\ufffd+$/, '');
}

/** The end of a text, or of bytes that may be none, in at most so many bytes of UTF-8. */
export function lastBytes(text: string | Buffer, limit: number): string {
  const end = Buffer.from(text.slice(-limit)).subarray(-limit).toString();
  const bytes = Buffer.from(end); // what was no UTF-8 takes three bytes as a text
  return (bytes.length <= limit ? end : bytes.subarray(-limit).toString()).replace(/^\ufffd+/, '');
}

/** What acts on a terminal, or turns or breaks a line: the controls of ISO 6429, 8 bits wide as well, and Unicode's own. */
const acting = /[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;

/** A text that only shows, whoever wrote it; where lines are `kept`, they and tabs stay. In JSON of one line it is the same document. */
export const visible = (text: string, kept: 'lines' | 'nothing' = 'nothing'): string =>
  text.replace(acting, (char) =>
    kept === 'lines' && /[\n\t]/.test(char) ? char : `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
