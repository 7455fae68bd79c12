import pino from 'pino';

/** Values that must never reach a log, wherever they stand in a logged object. */
const secrets = ['password', 'auth', 'identityToken', 'registryToken', 'authorization'];

/** The daemon's log: one JSON document a line on standard error, level from BERTH_LOG (default info). */
export const log = pino(
  {
    level: process.env.BERTH_LOG ?? 'info',
    base: undefined,
    timestamp: pino.stdTimeFunctions.isoTime,
    redact: secrets.flatMap((name) => [name, `*.${name}`]),
  },
  pino.destination({ fd: 2, sync: true }),
);
