import { jsonOf } from './parse.ts';

// JSON of programs in C and Go has whole numbers of 64 bits, which JavaScript rounds beyond 2^53. Of a document that is read
// and written again they stay as they are written.

/** A number as it is written in JSON. */
export type RawNumber = { readonly rawJSON: string };

/** As V8 has them (tc39's proposal-json-parse-with-source); the types of the language lack them. */
const exact = JSON as unknown as {
  rawJSON(text: string): RawNumber;
  parse(text: string, revive: (key: string, value: unknown, context: { readonly source: string }) => unknown): unknown;
};

/** A whole number of any size for a document. */
export const wholeNumber = (value: bigint): number | RawNumber =>
  Number.isSafeInteger(Number(value)) ? Number(value) : exact.rawJSON(String(value));

/** RLIM_INFINITY (getrlimit(2)): no limit. */
export const unlimited = wholeNumber(2n ** 64n - 1n);

/** What a JSON text says, with numbers that would be rounded as JSON.stringify gives them back. @throws as jsonOf does */
export function exactJsonOf(text: string): unknown {
  const value = jsonOf(text);
  if (!/\d{16}/.test(text)) return value;
  return exact.parse(text, (_, given, { source }) =>
    typeof given === 'number' && /^-?\d{16,}$/.test(source) ? wholeNumber(BigInt(source)) : given,
  );
}
