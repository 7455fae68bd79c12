import { setTimeout as delay } from 'node:timers/promises';
import { messageOf } from '../base/fault.ts';

/** How long who asks for the node's condition waits for plugins: kubelet asks every few seconds, and others with it. */
const waitMs = 100;
/** How long the last answer stands in for one that is awaited. */
const standsMs = 10_000;

/** Null: all is well; else why not. */
type Verdict = string | null;

type Asked = {
  /** Which networks are asked, and what they said the time before. */
  readonly networks: string;
  readonly before: Verdict | undefined;
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

  /** `ask` rejects with the reason; it is called unless an answer of these networks is awaited already. */
  async of(networks: string, ask: () => Promise<void>): Promise<Verdict> {
    const last = this.#asked?.networks === networks ? this.#asked : undefined;
    const asked = last && last.known === undefined ? last : begin(networks, last?.known, ask);
    this.#asked = asked;
    const verdict = await Promise.race([asked.answer, delay(waitMs)]);
    if (verdict !== undefined) return verdict;
    const waited = performance.now() - asked.at;
    if (asked.before !== undefined && waited < standsMs) return asked.before;
    return `a CNI plugin has not answered STATUS for ${(waited / 1000).toFixed(1)} s`;
  }
}

function begin(networks: string, before: Verdict | undefined, ask: () => Promise<void>): Asked {
  const answer = ask().then(() => null, messageOf);
  const asked: Asked = { networks, before, at: performance.now(), answer };
  void answer.then((verdict) => {
    asked.known = verdict;
  });
  return asked;
}
