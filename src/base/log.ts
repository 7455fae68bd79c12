import pino from 'pino';
import { invalidArgument } from './fault.ts';
import { lineWriter } from './log-writer.ts';
import { logLevel } from './setting-kinds.ts';
import { visible } from './text.ts';

/** Values that must never reach a log, wherever they stand in a logged object. */
const secrets = ['password', 'auth', 'identityToken', 'registryToken', 'authorization'];

const write = lineWriter(2);

/** The daemon's log: one JSON document a line on standard error, level from BERTH_LOG or the settings. */
export const log = pino(
  {
    level: 'info', // until the settings are known
    base: undefined,
    timestamp: pino.stdTimeFunctions.isoTime,
    redact: secrets.flatMap((name) => [name, `*.${name}`]),
  },
  { write: (line: string) => write(visible(line, 'lines')) },
);

/** The level of the settings, unless the environment names another. @throws Fault InvalidArgument for one that is none. */
export function setLogLevel(level: string): void {
  const named = process.env.BERTH_LOG || level;
  if (!logLevel.takes(named))
    throw invalidArgument(`BERTH_LOG = ${JSON.stringify(named)} in the environment must be ${logLevel.what}`);
  log.level = named;
}
