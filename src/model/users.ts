/** The highest id of a user or a group: (uid_t)-1 means "no change" to the kernel. */
export const highestId = 2 ** 32 - 2;

/** The id that `text` is in plain decimal digits, or null: a name, or what no Linux takes for an id. */
export function plainId(text: string): number | null {
  const id = /^\d{1,10}$/.test(text) ? Number(text) : Number.NaN;
  return id <= highestId ? id : null;
}
