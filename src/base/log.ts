import pino from 'pino';

/** Values that must never reach a log, wherever they stand in a logged object. */
const secrets = ['password', 'auth', 'identityToken', 'registryToken', 'authorization'];

/** The daemon's log: one JSON document a line on standard error, level from BERTH_LOG or the settings. */
export const log = pino(
  {
    level: process.env.BERTH_LOG || 'info', // until the settings are known
    base: undefined,
    timestamp: pino.stdTimeFunctions.isoTime,
    redact: secrets.flatMap((name) => [name, `*.${name}`]),
  },
  pino.destination({ fd: 2, sync: true }),
);

/** The level of the settings, unless the environment names another. */
export function setLogLevel(level: string): void {
  log.level = process.env.BERTH_LOG || level;
}
