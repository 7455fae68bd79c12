import { invalidArgument } from '../base/fault.ts';

// x86 and arm share these numbers (signal(7)).
const numberOf: Readonly<Record<string, number>> = {
  HUP: 1,
  INT: 2,
  QUIT: 3,
  ILL: 4,
  TRAP: 5,
  ABRT: 6,
  IOT: 6,
  BUS: 7,
  FPE: 8,
  KILL: 9,
  USR1: 10,
  SEGV: 11,
  USR2: 12,
  PIPE: 13,
  ALRM: 14,
  TERM: 15,
  STKFLT: 16,
  CHLD: 17,
  CLD: 17,
  CONT: 18,
  STOP: 19,
  TSTP: 20,
  TTIN: 21,
  TTOU: 22,
  URG: 23,
  XCPU: 24,
  XFSZ: 25,
  VTALRM: 26,
  PROF: 27,
  WINCH: 28,
  IO: 29,
  POLL: 29,
  PWR: 30,
  SYS: 31,
  UNUSED: 31,
};
const realtimeMin = 34;
const realtimeMax = 64;

// CRI numbers its signals by alphabet from 1, then SIGRTMIN (35) .. SIGRTMAX (65).
const criNames = (
  'ABRT ALRM BUS CHLD CLD CONT FPE HUP ILL INT IO IOT KILL PIPE POLL PROF PWR QUIT SEGV STKFLT STOP SYS TERM TRAP ' +
  'TSTP TTIN TTOU URG USR1 USR2 VTALRM WINCH XCPU XFSZ'
).split(' ');
const criRealtimeFirst = 35;

export const SIGKILL = 9;
export const SIGTERM = 15;

/** The Linux number of a CRI `Signal`, 0 for RUNTIME_DEFAULT; InvalidArgument for a number that CRI does not define. */
export function signalFromCri(value: number): number {
  if (value === 0) return 0;
  const name = criNames[value - 1];
  if (name !== undefined) return numberOf[name]!;
  const realtime = value - criRealtimeFirst + realtimeMin;
  if (Number.isInteger(value) && value >= criRealtimeFirst && realtime <= realtimeMax) return realtime;
  throw invalidArgument(`Stop signal ${value} is not a signal of CRI: use 0 to ${criRealtimeFirst + 30}`);
}

/** The CRI `Signal` for a Linux number, 0 where CRI has none. Names that share a number give the usual one. */
export function signalToCri(signal: number): number {
  if (signal >= realtimeMin && signal <= realtimeMax) return signal - realtimeMin + criRealtimeFirst;
  const index = criNames.findIndex((name) => numberOf[name] === signal);
  return index + 1;
}

/** The Linux number that an image means: `SIGQUIT`, `quit`, `3`, `SIGRTMIN+3`. InvalidArgument for anything else. */
export function signalFromName(text: string): number {
  const name = text.toUpperCase().replace(/^SIG/, '');
  const realtime = /^RT(MIN|MAX)(?:([+-])(\d{1,2}))?$/.exec(name);
  const signal = realtime
    ? realtimeNumber(realtime[1]!, realtime[2], Number(realtime[3] ?? 0))
    : /^\d{1,2}$/.test(text)
      ? Number(text)
      : Object.hasOwn(numberOf, name)
        ? numberOf[name]!
        : 0;
  if (signal >= 1 && signal <= realtimeMax) return signal;
  throw invalidArgument(
    `Stop signal ${JSON.stringify(text.slice(0, 64))} is unknown: use a name such as SIGTERM or 1-64`,
  );
}

function realtimeNumber(end: string, sign: string | undefined, offset: number): number {
  if (end === 'MIN') return sign === '-' || realtimeMin + offset > realtimeMax ? 0 : realtimeMin + offset;
  return sign === '+' || realtimeMax - offset < realtimeMin ? 0 : realtimeMax - offset;
}

/** The signal to stop a container with: the request's, else the image's, else SIGTERM. */
export const stopSignal = (requested: number, image: string): number =>
  requested !== 0 ? requested : image !== '' ? signalFromName(image) : SIGTERM;
