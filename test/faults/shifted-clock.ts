// A daemon and shims whose wall clock jumps, in a test host of its own.
import { closeSync, openSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { shared } from '../harness/compile.ts';
import { nativeWith } from './native-build.ts';

const place = '/run/shifted-clock';
const source = join(import.meta.dirname, 'shifted-clock.c');

export class ShiftedClock implements Disposable {
  readonly #folder = nativeWith(source);
  readonly #library: string;
  readonly #page: number;
  #seconds = 0;

  private constructor(library: string) {
    this.#library = library;
    writeFileSync(place, Buffer.alloc(4096));
    this.#page = openSync(place, 'r+');
  }

  static async make(): Promise<ShiftedClock> {
    return new ShiftedClock(await shared(source));
  }

  /** The daemon's environment. */
  get env(): Record<string, string> {
    return { LD_PRELOAD: this.#library, BERTH_NATIVE: this.#folder };
  }

  /** How far it is off, seconds. */
  get seconds(): number {
    return this.#seconds;
  }

  shift(seconds: number): void {
    const bytes = Buffer.alloc(8);
    bytes.writeBigInt64LE(BigInt(seconds));
    writeSync(this.#page, bytes, 0, 8, 0);
    this.#seconds = seconds;
  }

  /** What the daemon's clock says, ms. */
  now(): number {
    return Date.now() + this.#seconds * 1000;
  }

  [Symbol.dispose](): void {
    closeSync(this.#page);
    rmSync(place);
    rmSync(this.#folder, { recursive: true });
  }
}
