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
