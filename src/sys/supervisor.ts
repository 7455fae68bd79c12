import { messageOf } from '../base/fault.ts';
import { log } from '../base/log.ts';
import { loadAddon } from './addon.ts';

const native = loadAddon<{ notify(socket: string, text: string): void }>();

/** Taken out of the environment: what Berth starts speaks for itself. */
function taken(name: string): string | undefined {
  const value = process.env[name];
  delete process.env[name];
  return value;
}

const socket = taken('NOTIFY_SOCKET');
const watchdogUs = taken('WATCHDOG_USEC');
const watchedPid = taken('WATCHDOG_PID');
let complained = false;

/** A message as of sd_notify(3), to systemd or whoever else started Berth with a NOTIFY_SOCKET; without one, nothing. */
export function tellSupervisor(state: string): void {
  if (!socket) return;
  try {
    native.notify(socket, state);
  } catch (error) {
    if (!complained) log.warn({ socket, state, reason: messageOf(error) }, 'The supervisor could not be told');
    complained = true;
  }
}

/**
 * Says that Berth serves, and from then on, as often as it is to (sd_watchdog_enabled(3)), that the event loop goes round: who
 * hears nothing starts Berth anew, which harms no container.
 */
export function superviseUs(status: string): void {
  tellSupervisor(`READY=1\nSTATUS=Serving; ${status}`);
  const us = Number(watchdogUs);
  if (!socket || !(us > 0) || (watchedPid !== undefined && Number(watchedPid) !== process.pid)) return;
  setInterval(() => tellSupervisor('WATCHDOG=1'), us / 2000).unref();
}
