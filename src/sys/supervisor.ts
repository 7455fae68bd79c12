import { isErrno, messageOf } from '../base/fault.ts';
import { log } from '../base/log.ts';
import { loadAddon } from './addon.ts';

const native = loadAddon<{ notify(socket: string, text: string): void }>();

/** Taken out of the environment: what Berth starts speaks for itself. */
function ownOnly(name: string): string | undefined {
  const value = process.env[name];
  delete process.env[name];
  return value;
}

const socket = ownOnly('NOTIFY_SOCKET');
const watchdogUs = ownOnly('WATCHDOG_USEC');
const watchedPid = ownOnly('WATCHDOG_PID');
let complained = false;

/** What a supervisor that is busy has not taken yet, the oldest first. One that never hears that Berth serves would end it. */
const waiting: string[] = [];
const mostWaiting = 16;
const againMs = 100;
const sign = 'WATCHDOG=1';

/** A message as of sd_notify(3), to systemd or whoever else started Berth with a NOTIFY_SOCKET; without one, nothing. */
export function tellSupervisor(state: string): void {
  if (!socket || (waiting.length === 0 && taken(socket, state))) return;
  if (state === sign) return; // the next one says the same
  if (waiting.length === mostWaiting) waiting.pop(); // the newest counts
  if (waiting.push(state) === 1) setTimeout(tellAgain, againMs).unref();
}

function tellAgain(): void {
  while (waiting.length > 0 && taken(socket!, waiting[0]!)) waiting.shift();
  if (waiting.length > 0) setTimeout(tellAgain, againMs).unref();
}

/** False: there is no room for it at the other side. */
function taken(socket: string, state: string): boolean {
  try {
    native.notify(socket, state);
  } catch (error) {
    if (isErrno(error, 'EAGAIN', 'ENOBUFS')) return false;
    if (!complained) log.warn({ socket, state, reason: messageOf(error) }, 'The supervisor could not be told');
    complained = true;
  }
  return true;
}

/**
 * Says that Berth serves, and from then on, as often as it is to (sd_watchdog_enabled(3)), that the event loop goes round: who
 * hears nothing starts Berth anew, which harms no container.
 */
export function superviseUs(status: string): void {
  tellSupervisor(`READY=1\nSTATUS=Serving; ${status}`);
  const us = Number(watchdogUs);
  if (!socket || !(us > 0) || (watchedPid !== undefined && Number(watchedPid) !== process.pid)) return;
  setInterval(() => tellSupervisor(sign), us / 2000).unref();
}
