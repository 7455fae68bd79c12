const longestMs = 30_000;

/** Answers of a server that is busy or down for a while: worth asking again after a wait, where nobody else can be asked. */
export const transient: readonly number[] = [429, 500, 502, 503, 504];

/** Retry-After in seconds or as a date (RFC 9110, 10.2.3); anything else is a doubling wait. Never long. */
export function retryAfterMs(header: string | undefined, attempt: number, now: number): number {
  const text = header?.trim() ?? '';
  const date = /[a-z]/i.test(text) ? Date.parse(text) : Number.NaN;
  const said = /^[0-9]{1,9}$/.test(text) ? Number(text) * 1000 : Math.max(date - now, 0);
  return Math.min(Number.isNaN(said) ? 500 * 2 ** attempt : said, longestMs);
}
