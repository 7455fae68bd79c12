import type { Capability } from './hosts.ts';
import type { Place } from './place.ts';

/**
 * The places of one pull, in the order in which they are worth asking: those that are not known to be down, as the operator
 * lists them; then those that were down before this pull. What failed during it is asked again only if nobody else is left.
 */
export class Places {
  readonly #all: readonly Place[];
  readonly #began = performance.now();

  constructor(all: readonly Place[]) {
    this.#all = all;
  }

  able(capability: Capability, except: ReadonlySet<Place> = new Set()): Place[] {
    const able = this.#all.filter((place) => place.endpoint.capabilities.has(capability) && !except.has(place));
    const up = able.filter(({ memory }) => memory.whyDown() === null && !memory.failedSince(this.#began));
    const lastResort = able.filter(({ memory }) => memory.whyDown() !== null && !memory.failedSince(this.#began));
    const order = [...up, ...lastResort];
    return order.length > 0 ? order : able;
  }

  /** Those that gave something, for the log. */
  gave(): string[] {
    return this.#all.filter(({ gave }) => gave).map(({ host }) => host);
  }

  /** What in the operator's file means nothing: it may be why nobody could be asked. */
  remarks(): string[] {
    return this.#all.flatMap(({ endpoint }) => endpoint.remarks);
  }

  /** Why places of an able order were passed over, for an error. */
  passedOver(capability: Capability, asked: readonly Place[]): string[] {
    return this.#all
      .filter((place) => place.endpoint.capabilities.has(capability) && !asked.includes(place))
      .flatMap(({ host, memory }) => (memory.whyDown() ? [`${host} was passed over: ${memory.whyDown()}`] : []));
  }
}
