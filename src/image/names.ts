/** Names of one kind that an image keeps: each pull under another one adds to what every list of images shows. */
export const mostNames = 100;

/** The names of `before` and `more`; beyond `mostNames` the oldest go. */
export function union(before: readonly string[] = [], more: readonly string[]): string[] {
  const all = [...new Set([...before, ...more])];
  if (all.length <= mostNames) return all;
  return [...before.filter((name) => !more.includes(name)), ...new Set(more)].slice(-mostNames);
}
