/**
 * Figures of Berth's own in the text format of Prometheus (version 0.0.4). Labels have few values, which clients cannot choose.
 */
type Labels = Readonly<Record<string, string>>;
/** `suffix`: what the name of a histogram's parts ends with. */
export type Sample = { readonly value: number; readonly labels?: Labels; readonly suffix?: string };
export type Metric = {
  readonly name: string;
  readonly help: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly samples: () => readonly Sample[];
};

/** A number for each set of labels, that only grows. */
export class Counter {
  readonly #values = new Map<string, { labels: Labels; value: number }>();

  /** `known`: labels that are told of at 0 from the start, as nobody sees a series grow that begins at 1. */
  constructor(known: readonly Labels[] = []) {
    for (const labels of known) this.add(labels, 0);
  }

  add(labels: Labels = {}, by = 1): void {
    const key = Object.values(labels).join('\0');
    const known = this.#values.get(key);
    if (known) known.value += by;
    else this.#values.set(key, { labels, value: by });
  }

  samples(): Sample[] {
    return [...this.#values.values()].map(({ labels, value }) => ({ labels, value }));
  }
}

/** How often something took up to so many seconds, for each set of labels. */
export class Histogram {
  readonly #bounds: readonly number[];
  readonly #series = new Map<string, { labels: Labels; counts: number[]; sum: number; count: number }>();

  constructor(bounds: readonly number[]) {
    this.#bounds = bounds;
  }

  observe(labels: Labels, seconds: number): void {
    const key = Object.values(labels).join('\0');
    const known = this.#series.get(key) ?? { labels, counts: this.#bounds.map(() => 0), sum: 0, count: 0 };
    this.#series.set(key, known);
    const at = this.#bounds.findIndex((bound) => seconds <= bound);
    if (at >= 0) known.counts[at]!++;
    known.sum += seconds;
    known.count++;
  }

  samples(): Sample[] {
    return [...this.#series.values()].flatMap(({ labels, counts, sum, count }) => {
      const upTo = (at: number) => counts.slice(0, at + 1).reduce((total, one) => total + one, 0);
      const buckets = this.#bounds.map((bound, at) => ({
        suffix: '_bucket',
        labels: { ...labels, le: `${bound}` },
        value: upTo(at),
      }));
      const all = { suffix: '_bucket', labels: { ...labels, le: '+Inf' }, value: count };
      return [...buckets, all, { suffix: '_sum', labels, value: sum }, { suffix: '_count', labels, value: count }];
    });
  }
}

const escaped = (value: string): string =>
  value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');

function line(name: string, { value, labels = {}, suffix = '' }: Sample): string {
  const pairs = Object.entries(labels).map(([label, text]) => `${label}="${escaped(text)}"`);
  return `${name}${suffix}${pairs.length > 0 ? `{${pairs.join(',')}}` : ''} ${value}\n`;
}

/** What a scrape answers. A metric without a sample is left out. */
export function exposition(metrics: readonly Metric[]): string {
  return metrics
    .map(({ name, help, type, samples }) => {
      const lines = samples().map((sample) => line(name, sample));
      return lines.length > 0 ? `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${lines.join('')}` : '';
    })
    .join('');
}
