// The releases of Kubernetes that tests know: a module each, that of the newest in go.mod and the others beside it, by their minor.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const here = import.meta.dirname;
const variable = 'BERTH_KUBERNETES';

export type Release = {
  /** `1.36` */
  readonly minor: string;
  /** `v1.36.3` */
  readonly version: string;
  /** The file of its module, which takes go.mod's place. */
  readonly module: string;
};

function read(file: string): Release {
  const module = join(here, file);
  const [, version = '', minor = ''] = /k8s\.io\/kubernetes (v(\d+\.\d+)\.\S+)/.exec(readFileSync(module, 'utf8'))!;
  return { minor, version, module };
}

/** The newest first. */
export const releases: readonly Release[] = readdirSync(here)
  .filter((name) => name.endsWith('.mod'))
  .map(read)
  .sort((a, b) => b.minor.localeCompare(a.minor, 'en', { numeric: true }));

export const minors: readonly string[] = releases.map(({ minor }) => minor);

/** What BERTH_KUBERNETES names, else the newest. */
export const chosenMinor = (): string => process.env[variable] || minors[0]!;

/** The chosen release; an error that says which there are, if it is none of them. */
export function release(): Release {
  const found = releases.find(({ minor }) => minor === chosenMinor());
  if (!found) throw new Error(`${variable}=${chosenMinor()}: give ${minors.join(', ')}`);
  return found;
}

/** Chooses a release, for this process and those that it starts. */
export function chooseRelease(minor: string): void {
  process.env[variable] = minor;
}
