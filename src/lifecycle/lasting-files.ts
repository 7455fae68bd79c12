import { isFault } from '../base/fault.ts';
import type { HostFiles } from '../base/host-files.ts';
import { Looker } from '../shim/index.ts';

/**
 * What the daemon's are for, as the list of processes has it. Each handler has one for its OCI runtime: what hangs must not
 * seem to be another's matter, and who looks waits for what was asked for before.
 */
export const readersOf = {
  networks: 'network configurations',
  plugins: 'network plugins',
  ociRuntimes: 'an OCI runtime',
  operator: "an operator's files",
} as const;

/** A looker in use. */
type Generation = { readonly looker: Looker; readonly born: number; uses: number };

/** What all looks of one looker may take together is bounded: another one takes its place before that. */
const longestMs = 5000;
/** A call reads again before that, and kubelet asks for the node's condition as often. */
const idleMs = 10_000;

/**
 * Looks at paths of the host for calls that come all the time: one process for them, and another one when it has been there for
 * a while, or when what it was asked for did not answer.
 */
export class LastingFiles implements HostFiles {
  readonly #deadlineMs: () => number;
  readonly #what: string;
  readonly #errors: number | undefined;
  #current: Generation | null = null;
  #idle: NodeJS.Timeout | undefined;

  /** `what`, `errors`: as a Looker has them. */
  constructor(deadlineMs: () => number, what: string, errors?: number) {
    this.#errors = errors;
    this.#deadlineMs = deadlineMs;
    this.#what = what;
  }

  readText(path: string, most: number) {
    return this.#use((looker) => looker.readText(path, most));
  }

  list(path: string, most: number) {
    return this.#use((looker) => looker.list(path, most));
  }

  stat(path: string) {
    return this.#use((looker) => looker.stat(path));
  }

  fileSystem(path: string) {
    return this.#use((looker) => looker.fileSystem(path));
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#idle);
    this.#retire();
  }

  async #use<T>(look: (looker: Looker) => Promise<T>): Promise<T> {
    const used = this.#take();
    used.uses++;
    try {
      return await look(used.looker);
    } catch (error) {
      if (used === this.#current && isFault(error, 'DeadlineExceeded', 'Unavailable', 'DataLoss')) this.#current = null;
      throw error;
    } finally {
      used.uses--;
      if (used !== this.#current && used.uses === 0) used.looker[Symbol.dispose]();
    }
  }

  #take(): Generation {
    clearTimeout(this.#idle);
    this.#idle = setTimeout(() => this.#retire(), idleMs).unref();
    if (this.#current && performance.now() - this.#current.born > longestMs) this.#retire();
    this.#current ??= {
      looker: new Looker(this.#deadlineMs(), this.#what, this.#errors),
      born: performance.now(),
      uses: 0,
    };
    return this.#current;
  }

  /** Ends when what it was asked for is done. */
  #retire(): void {
    const last = this.#current;
    this.#current = null;
    if (last?.uses === 0) last.looker[Symbol.dispose]();
  }
}
