import { Silent } from './http.ts';
import { isDown, type Place } from './place.ts';

export type Turn = {
  readonly place: Place;
  /** Nobody else is left to ask. */
  readonly isLast: boolean;
};

/**
 * The places of one question, in turn. One that said nothing while another was left (a cache that fetches what it is asked for
 * first) is asked once more, with all patience, if the last one cannot be reached.
 */
export class Turns implements Iterable<Turn> {
  readonly #turns: Turn[];
  readonly #silent: Place[] = [];
  #current: Turn | null = null;

  constructor(order: readonly Place[]) {
    this.#turns = order.map((place) => ({ place, isLast: place === order.at(-1) }));
  }

  *[Symbol.iterator](): Generator<Turn> {
    for (const turn of this.#turns) {
      this.#current = turn;
      yield turn;
    }
  }

  /** Why the place whose turn it is did not give what was asked for. */
  failed(error: unknown): void {
    const turn = this.#current;
    if (!turn) return;
    if (!turn.isLast && error instanceof Silent) this.#silent.push(turn.place);
    const again = turn.isLast && isDown(error) ? this.#silent.shift() : undefined;
    if (again) this.#turns.push({ place: again, isLast: true });
  }
}
