import { readText } from './read.ts';

export type Pressure = {
  readonly avg10: number;
  readonly avg60: number;
  readonly avg300: number;
  /** Microseconds. */
  readonly total: number;
};

export type Psi = { readonly some: Pressure; readonly full: Pressure };

const none: Pressure = { avg10: 0, avg60: 0, avg300: 0, total: 0 };

/** Pressure stall information (kernel: accounting/psi.rst), or null where the kernel keeps none for this cgroup. */
export function readPsi(path: string): Psi | null {
  const text = readText(path);
  return text === null ? null : parsePsi(text);
}

export function parsePsi(text: string): Psi {
  const of = (kind: string): Pressure => {
    const line = text.split('\n').find((each) => each.startsWith(`${kind} `));
    if (line === undefined) return none; // the CPU controller had no "full" line before Linux 5.13
    const values = Object.fromEntries(
      line
        .split(' ')
        .slice(1)
        .map((pair) => pair.split('=')),
    );
    const { avg10 = 0, avg60 = 0, avg300 = 0, total = 0 } = values;
    return { avg10: Number(avg10), avg60: Number(avg60), avg300: Number(avg300), total: Number(total) };
  };
  return { some: of('some'), full: of('full') };
}
