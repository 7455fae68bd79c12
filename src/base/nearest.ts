/** How many letters to put in, take out or exchange, or neighbours to swap, to get from one word to the other. */
function distance(a: string, b: string): number {
  let [before, last] = [[] as number[], Array.from({ length: b.length + 1 }, (_, index) => index)];
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1;
      row[j] = Math.min(last[j]! + 1, row[j - 1]! + 1, last[j - 1]! + same);
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      if (swapped) row[j] = Math.min(row[j]!, before[j - 2]! + 1);
    }
    [before, last] = [last, row];
  }
  return last[b.length]!;
}

const longest = 64;

/** `: did you mean X?` for the word of `known` that is least away from `word`, or nothing if none is near. */
export function didYouMean(word: string, known: Iterable<string>): string {
  if (word.length > longest) return '';
  const near = [...known].map((name) => ({ name, away: distance(word, name) })).sort((a, b) => a.away - b.away)[0];
  return near && near.away <= Math.max(1, Math.floor(word.length / 3)) ? `: did you mean ${near.name}?` : '';
}
