import { cpus, release } from 'node:os';

/** When and where the figures were taken, and how many of them. */
export function heading(rounds: number, ...details: readonly string[]): string {
  const host = [new Date().toISOString().slice(0, 10), `${cpus().length} processors`, `Linux ${release()}`];
  return `${[...host, ...details, `${rounds} rounds`].join(', ')}: median (least-most)`;
}

/** Figures of one row: one list a contestant, in the order of the columns; the floor where there is one. */
export type Row = {
  readonly what: string;
  readonly unit: 'ms' | '/s' | 'MB' | 'MB/s';
  readonly figures: readonly (readonly number[])[];
  readonly floor?: readonly number[];
  /** What Berth aims at, in words. */
  readonly target: string;
};

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

const shown = (value: number): string =>
  value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);

const spread = (values: readonly number[]): string =>
  values.length === 0 ? '-' : `${shown(median(values))} (${shown(Math.min(...values))}-${shown(Math.max(...values))})`;

/** Berth first: the ratios are Berth's median over each peer's, and over the floor's. */
export function printTable(columns: readonly string[], rows: readonly Row[]): void {
  const others = columns.slice(1);
  const header = ['what', ...columns, 'floor', ...others.map((name) => `Berth/${name}`), 'Berth/floor', 'target'];
  const body = rows.map(({ what, unit, figures, floor = [], target }) => {
    const [own = [], ...peers] = figures;
    const ratio = (other: readonly number[]) =>
      own.length && other.length ? `${(median(own) / median(other)).toFixed(2)} x` : '-';
    return [`${what}, ${unit}`, ...figures.map(spread), spread(floor), ...peers.map(ratio), ratio(floor), target];
  });
  printLines(header, body);
}

/** The same at growing sizes of one node, and how each compares with the first size. */
export function printGrowth(sizes: readonly string[], rows: readonly Row[]): void {
  const [first = '', ...others] = sizes;
  const header = ['what', ...sizes, ...others.map((size) => `${size} / ${first}`), 'target'];
  const body = rows.map(({ what, unit, figures, target }) => {
    const [base = [], ...grown] = figures;
    const ratios = grown.map((values) =>
      base.length && values.length ? `${(median(values) / median(base)).toFixed(2)} x` : '-',
    );
    return [`${what}, ${unit}`, ...figures.map(spread), ...ratios, target];
  });
  printLines(header, body);
}

/** A table as Markdown has them. */
export function printLines(header: readonly string[], body: readonly (readonly string[])[]): void {
  const all = [header, ...body];
  const widths = header.map((_, column) => Math.max(...all.map((line) => line[column]?.length ?? 0)));
  for (const [index, line] of all.entries()) {
    console.log(`| ${line.map((cell, column) => cell.padEnd(widths[column]!)).join(' | ')} |`);
    if (index === 0) console.log(`|${widths.map((width) => '-'.repeat(width + 2)).join('|')}|`);
  }
}
