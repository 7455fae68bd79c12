/** Who waits for the answer to a call. */
export type Caller = {
  /** Aborts when the client goes, or its deadline passes, before it is answered. */
  readonly signal: AbortSignal;
  /** Until when the client waits: milliseconds since the epoch, or Infinity. */
  readonly deadline: number;
  /** Tells when the answer that was given is known not to have gone out whole. */
  onUnheard(listener: () => void): void;
};
