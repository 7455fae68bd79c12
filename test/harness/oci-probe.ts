import { resolve } from 'node:path';
import { compiled } from './compile.ts';

/** The path of test/node/oci-probe.c compiled. */
export const ensureProbe = (): Promise<string> => compiled(resolve(import.meta.dirname, '../node/oci-probe.c'));
