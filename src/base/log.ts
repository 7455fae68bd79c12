import pino from 'pino';
import { invalidArgument } from './fault.ts';
import { logLevel } from './setting-kinds.ts';
import { visible } from './text.ts';
import { writeWhole } from './write-whole.ts';

/** Values that must never reach a log, wherever they stand in a logged object. */
const secrets = ['password', 'auth', 'identityToken', 'registryToken', 'authorization'];

/** Of a command, which may wait for its terminal. */
const patienceMs = 1000;
/** Levels are pino's: 20 debug, 30 info, 40 warn, 50 error. */
type Write = (line: string, level: number) => void;
let write: Write = (line) => void writeWhole(2, Buffer.from(line), patienceMs);

/** What pino writes to; it notes the level of each line there. */
const destination = {
  lastLevel: 30,
  [Symbol.for('pino.metadata')]: true,
  write: (line: string): void => write(visible(line, 'lines'), destination.lastLevel),
};

/** The daemon's log: one JSON document a line on standard error, level from BERTH_LOG or the settings. */
export const log = pino(
  {
    level: 'info', // until the settings are known
    base: undefined,
    timestamp: pino.stdTimeFunctions.isoTime,
    redact: secrets.flatMap((name) => [name, `*.${name}`]),
  },
  destination,
);

/** Lines go there from now on: a daemon does not wait for who reads them. */
export function logThrough(output: { write: Write }): void {
  write = (line, level) => output.write(line, level);
}

/** The level of the settings, unless the environment names another. @throws Fault InvalidArgument for one that is none. */
export function setLogLevel(level: string): void {
  const named = process.env.BERTH_LOG || level;
  if (!logLevel.takes(named))
    throw invalidArgument(`BERTH_LOG = ${JSON.stringify(named)} in the environment must be ${logLevel.what}`);
  log.level = named;
}
