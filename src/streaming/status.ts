import { messageOf } from '../base/fault.ts';

/** How a command ended: its exit code, or why there is none. */
export type Outcome = { readonly code: number } | { readonly error: unknown };

/** Resolves with how it ended, whatever it was. */
export const outcomeOf = (work: Promise<number>): Promise<Outcome> =>
  work.then(
    (code) => ({ code }),
    (error: unknown) => ({ error }),
  );

/** The metav1.Status that protocols from v4 on carry in the error stream: clients take the exit code from its causes. */
export function statusJson(outcome: Outcome): string {
  if ('error' in outcome) {
    const message = messageOf(outcome.error);
    return JSON.stringify({ metadata: {}, status: 'Failure', message, reason: 'InternalError', code: 500 });
  }
  if (outcome.code === 0) return JSON.stringify({ metadata: {}, status: 'Success' });
  return JSON.stringify({
    metadata: {},
    status: 'Failure',
    message: exitText(outcome.code),
    reason: 'NonZeroExitCode',
    details: { causes: [{ reason: 'ExitCode', message: String(outcome.code) }] },
  });
}

/** What protocols before v4 carry: text, and nothing after success. */
export function statusText(outcome: Outcome): string {
  if ('error' in outcome) return messageOf(outcome.error);
  return outcome.code === 0 ? '' : exitText(outcome.code);
}

const exitText = (code: number): string => `command terminated with non-zero exit code: exit status ${code}`;
