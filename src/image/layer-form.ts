// How the members of a layer become a tree in overlay form: by itself (layer-alone) or in order on those below (layer-ordered).
import { Fault } from '../base/fault.ts';
import type { Attributes } from '../sys/tree.ts';

export type LayerLimits = {
  /** Bytes of file content to unpack; holes do not count, the blocks between them do. */
  readonly maxBytes: number;
  /** Members, and directories that they imply. */
  readonly maxEntries: number;
  /** Unpacked bytes that are more than holes for each compressed one, once there are enough of them to tell (layer-stream). */
  readonly maxRatio: number;
};

/** What a layer, unpacked by itself, leaves to be settled with those below it. All paths are clean, latin1. */
export type Unsettled = {
  /** Directories that the layer has something in but does not describe. */
  readonly implied: string[];
  /** Names that were implied directories once, and are something else now. */
  readonly former: string[];
  /** Names that the layer removes. */
  readonly whiteouts: string[];
  /** Each member has a name of its own and none removes anything: their order says nothing. */
  readonly plain: boolean;
  /** True: nothing of the layers below is visible. */
  readonly hidesAll: boolean;
};

/** Where members go. Paths are clean; places are paths inside the tree whose way has no link. */
export interface LayerForm {
  /** Makes something by `make` in place of whatever has the name `path`; `make` is given the place, and answers as Tree does. */
  create(path: string, make: (place: string) => number): number;
  directory(path: string, attributes: Attributes): void;
  link(path: string, existing: string): void;
  /** Removes what the layers below have by the name, or, for null, all that they have in `folder`. */
  remove(folder: string, name: string | null): void;
  /** Nothing is at `path` any more: not of this layer, and not of those below. */
  vanish(path: string): void;
  /** After the last member. */
  settle(): Unsettled;
}

/** What a layer unpacks to, within its limits. */
export class LayerCount {
  readonly #limits: LayerLimits;
  bytes = 0;
  entries = 0;

  constructor(limits: LayerLimits) {
    this.#limits = limits;
  }

  get bytesLeft(): number {
    return this.#limits.maxBytes - this.bytes;
  }

  /** @throws Fault ResourceExhausted */
  addBytes(bytes: number): void {
    this.bytes += bytes;
    if (this.bytes <= this.#limits.maxBytes) return;
    throw new Fault('ResourceExhausted', `The layer unpacks to more than ${this.#limits.maxBytes} bytes`);
  }

  /** @throws Fault ResourceExhausted */
  addEntry(): void {
    if (++this.entries <= this.#limits.maxEntries) return;
    throw new Fault('ResourceExhausted', `The layer has more than ${this.#limits.maxEntries} entries`);
  }
}

const doubtCode = 'LAYER_DOUBT';

/** A layer means something that cannot be told without the layers below, or without the order of its members. No failure. */
export class LayerDoubt extends Error {
  /** As errors of the system have it: it is what passes between threads. */
  readonly code = doubtCode;
}

export const isDoubt = (error: unknown): error is Error =>
  error instanceof Error && 'code' in error && error.code === doubtCode;
