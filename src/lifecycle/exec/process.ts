import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { exactJsonOf } from '../../base/exact-json.ts';
import { failedPrecondition, isErrno } from '../../base/fault.ts';
import type { Container } from '../../model/container.ts';
import { commandLike, type OciProcess } from '../../oci/index.ts';
import { readyToMove } from '../../sys/cgroups.ts';
import { writeNewFile } from '../../sys/write-file.ts';
import type { Deps } from '../deps.ts';

/** The files of one process to be run in a container; whoever prepared them removes `processFile`. */
export type ExecFiles = { readonly processFile: string; readonly pidFile: string; readonly oomScoreAdj: number };

/**
 * The container's own process with another command: its user, environment, capabilities, seccomp and directory.
 * @throws Fault FailedPrecondition if its bundle is gone, as its pod is being stopped.
 */
export async function prepareExec(
  deps: Pick<Deps, 'layout'>,
  { id, podId }: Container,
  args: readonly string[],
  terminal: boolean,
): Promise<ExecFiles> {
  void readyToMove(); // the OCI runtime is about to move a process
  const paths = deps.layout;
  const name = join(paths.bundle(podId, id), `exec-${randomBytes(6).toString('hex')}`);
  try {
    const template = exactJsonOf(await readFile(paths.processFile(podId, id), 'utf8')) as Partial<OciProcess>;
    const files = { processFile: `${name}.json`, pidFile: `${name}.pid`, oomScoreAdj: template.oomScoreAdj ?? 0 };
    const env = terminal ? withTerm(template.env ?? []) : template.env;
    const command = commandLike(template.args ?? [], args);
    await writeNewFile(files.processFile, JSON.stringify({ ...template, args: command, env, terminal }));
    return files;
  } catch (error) {
    if (!isErrno(error, 'ENOENT')) throw error;
    throw failedPrecondition(`The bundle of container ${id} is gone: is its pod being stopped?`);
  }
}

/** Programs on a terminal look at TERM; a container without one has none in its environment. */
const withTerm = (env: readonly string[]): string[] =>
  env.some((entry) => entry.startsWith('TERM=')) ? [...env] : [...env, 'TERM=xterm'];
