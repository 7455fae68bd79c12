import { once } from 'node:events';
import { log } from '../base/log.ts';

/**
 * What operators, logrotate, terminals and timers send to programs, and what would end or stop this one. Node itself
 * ignores SIGPIPE and SIGXFSZ. Left as they are: SIGQUIT, a wish for a core, and SIGTSTP, a wish of who sits before it.
 */
const harmless: Partial<Record<NodeJS.Signals, string>> = {
  SIGUSR1: 'there is no debugger',
  SIGALRM: 'it means nothing here',
  SIGTTIN: 'no terminal is read',
  SIGTTOU: 'a log on a terminal goes on',
};

/** From now on none of these ends or stops the daemon; each leaves a line in the log. */
export function surviveSignals(): void {
  for (const [signal, why] of Object.entries(harmless))
    process.on(signal, () => log.info({ signal }, `Ignored: ${why}`));
}

/** Node would write its warnings to standard error by itself, as lines that are no JSON, and wait for whoever reads it. */
export function logWarnings(): void {
  process.removeAllListeners('warning');
  process.on('warning', ({ name, message }) => log.warn({ warning: name, reason: message }, 'Node warns'));
}

/**
 * SIGUSR2 has `tell` of what is returned called, from now on: not SIGUSR1, at which Node would open a debugger where it was not
 * told not to.
 */
export function tellOnSignal(): { tell: () => void } {
  const told = { tell: () => log.info('Berth starts: nothing is under way yet') };
  process.on('SIGUSR2', () => told.tell());
  return told;
}

/** Resolves when the daemon is told to end: SIGTERM from systemd, SIGINT from a terminal. A second one ends it at once. */
export async function toldToEnd(): Promise<void> {
  await Promise.race([once(process, 'SIGTERM'), once(process, 'SIGINT')]);
}
