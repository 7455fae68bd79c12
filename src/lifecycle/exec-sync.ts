import { randomBytes } from 'node:crypto';
import { readFile, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { errorText } from '../base/command.ts';
import { Fault, failedPrecondition, invalidArgument, notFound } from '../base/fault.ts';
import type { Container } from '../model/container.ts';
import { type Deps, runPaths } from './deps.ts';
import { ociRuntimeEnv } from './oci-runtimes.ts';

/** As the peers: what is kept of each stream; the rest is read and dropped. */
const maxOutput = 16 * 1024 * 1024;

export type ExecOutput = { readonly stdout: Buffer; readonly stderr: Buffer; readonly code: number };

/**
 * Runs a command in a running container to its end.
 * @param timeoutMs 0: no limit. @throws Fault DeadlineExceeded when it is over (kubelet takes exactly that code for a
 * failed probe); the command and all that it started are killed.
 */
export async function execSync(
  deps: Deps,
  id: string,
  command: readonly string[],
  timeoutMs: number,
  signal: AbortSignal,
): Promise<ExecOutput> {
  if (command.length === 0) throw invalidArgument('cmd is empty');
  const container = deps.containers.find(id);
  if (!container) throw notFound('container', id);
  if (container.state.phase !== 'running') {
    throw failedPrecondition(`Container ${container.id} is ${container.state.phase}, not running`);
  }
  const prepared = await prepareExec(deps, container, command);
  try {
    return outputOf(await run(deps, container, prepared, timeoutMs, signal), container, command);
  } finally {
    await unlink(prepared.processFile);
  }
}

type Prepared = { readonly processFile: string; readonly pidFile: string };

/** The container's own process with another command: its user, environment, capabilities, seccomp and directory. */
async function prepareExec(deps: Deps, { id, podId }: Container, args: readonly string[]): Promise<Prepared> {
  const paths = runPaths(deps);
  const template = JSON.parse(await readFile(paths.processFile(podId, id), 'utf8'));
  const name = join(paths.bundle(podId, id), `exec-${randomBytes(6).toString('hex')}`);
  const prepared = { processFile: `${name}.json`, pidFile: `${name}.pid` };
  await writeFile(prepared.processFile, JSON.stringify({ ...template, args, terminal: false }), { mode: 0o600 });
  return prepared;
}

async function run(deps: Deps, container: Container, files: Prepared, deadlineMs: number, signal: AbortSignal) {
  const runtime = deps.ociRuntimes.get(deps.pods.get(container.podId)?.handler ?? '');
  const shim = await deps.shims.ensure(container.podId);
  const { ociRuntime, execDrain } = deps.settings.timeouts;
  const spec = {
    argv: runtime.exec(container.id, files.pidFile, files.processFile),
    env: ociRuntimeEnv,
    cwd: '/',
    pidFile: files.pidFile,
    deadlineMs,
    startDeadlineMs: ociRuntime * 1000,
    drainMs: execDrain * 1000,
    maxOutput,
  };
  return shim.exec(spec, signal);
}

type Ran = Awaited<ReturnType<typeof run>>;

function outputOf(
  { timedOut, started, stdout, stderr, code }: Ran,
  { id }: Container,
  [name]: readonly string[],
): ExecOutput {
  const shown = JSON.stringify(name);
  if (timedOut) throw new Fault('DeadlineExceeded', `The command ${shown} in container ${id} timed out`);
  if (started) return { stdout, stderr, code };
  const reason = errorText(Buffer.concat([stdout, stderr])) || `exit code ${code}`;
  throw new Fault('Internal', `Cannot run ${shown} in container ${id}: ${reason}`);
}
