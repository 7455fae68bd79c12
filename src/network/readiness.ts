import { setTimeout as delay } from 'node:timers/promises';
import { messageOf } from '../base/fault.ts';

/** How long who asks for the node's condition waits for plugins: kubelet asks every few seconds, and others with it. */
const waitMs = 100;
/** How long the last answer stands in for one that is awaited. */
const standsMs = 10_000;

/** Null: all is well; else why not. */
type Verdict = string | null;

type Asked = {
  /** Which networks are asked. */
  readonly networks: string;
  readonly at: number;
  readonly answer: Promise<Verdict>;
  known?: Verdict;
};

/**
 * What plugins say of themselves (CNI's STATUS), asked once at a time and behind the callers' back: a plugin that hangs must
 * not hang the node's condition.
 */
export class Readiness {
  #asked: Asked | null = null;
  #before: Verdict | undefined;

  /** `ask` rejects with the reason; it is called unless an answer of these networks is awaited already. */
  async of(networks: string, ask: () => Promise<void>): Promise<Verdict> {
    if (this.#asked?.networks !== networks) this.#before = undefined;
    else this.#before = this.#asked.known === undefined ? this.#before : this.#asked.known;
    if (this.#asked?.networks !== networks || this.#asked.known !== undefined) this.#asked = begin(networks, ask);
    const { at, answer } = this.#asked;
    const verdict = await Promise.race([answer, delay(waitMs)]);
    if (verdict !== undefined) return verdict;
    const waited = performance.now() - at;
    if (this.#before !== undefined && waited < standsMs) return this.#before;
    return `a CNI plugin has not answered STATUS for ${(waited / 1000).toFixed(1)} s`;
  }
}

function begin(networks: string, ask: () => Promise<void>): Asked {
  const answer = ask().then(() => null, messageOf);
  const asked: Asked = { networks, at: performance.now(), answer };
  void answer.then((verdict) => {
    asked.known = verdict;
  });
  return asked;
}
