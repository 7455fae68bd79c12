import { createHash, randomUUID } from 'node:crypto';
import { existsSync, readFileSync, renameSync } from 'node:fs';
import { basename, join } from 'node:path';
import { cacheFolder } from '../images/paths.ts';
import { program, run } from '../images/run.ts';

/** The path of a C file compiled, static; kept, since the machine of test/vm has no compiler. */
export const compiled = (source: string): Promise<string> => compile(source, '', ['-static', '-no-pie']);

/** The same as a library, which a program can be made to load first. */
export const shared = (source: string): Promise<string> => compile(source, '.so', ['-shared', '-fPIC']);

async function compile(source: string, ending: string, how: readonly string[]): Promise<string> {
  const hash = createHash('sha256').update(readFileSync(source)).digest('hex').slice(0, 16);
  const target = join(cacheFolder('programs'), `${basename(source, '.c')}-${hash}${ending}`);
  if (existsSync(target)) return target;
  const stage = `${target}.${randomUUID()}`; // two test files may be at it
  const flags = ['-O1', ...how, '-Wall', '-Werror'];
  await run(program('cc', 'build-essential'), [...flags, '-o', stage, source]);
  renameSync(stage, target);
  return target;
}
