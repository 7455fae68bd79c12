import { unlink } from 'node:fs/promises';
import { errorText } from '../../base/command.ts';
import { longestMs } from '../../base/deadline.ts';
import { Fault, invalidArgument } from '../../base/fault.ts';
import { step, traced } from '../../base/trace.ts';
import type { Container } from '../../model/container.ts';
import type { Deps } from '../deps.ts';
import { ociRuntimeEnv } from '../runtime/handlers.ts';
import { type ExecFiles, prepareExec, runningContainer } from './process.ts';

/** As the peers: what is kept of each stream; the rest is read and dropped. */
const maxOutput = 16 * 1024 * 1024;

/** What a command with a time limit gets for its start: an OCI runtime that hangs must not hold a probe for a minute. */
const startMs = 10_000;

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
  const container = runningContainer(deps, id);
  traced(container.podId, container.id);
  const prepared = await step('file: process', () => prepareExec(deps, container, command, false));
  try {
    return outputOf(await run(deps, container, prepared, timeoutMs, signal), container, command);
  } finally {
    await unlink(prepared.processFile);
  }
}

async function run(deps: Deps, container: Container, files: ExecFiles, deadlineMs: number, signal: AbortSignal) {
  const runtime = deps.ociRuntimes.of(container);
  const shim = await deps.shims.keeping(container.podId);
  const { ociRuntime, execDrain } = deps.settings.timeouts;
  const spec = {
    argv: runtime.exec(container.id, files.pidFile, files.processFile),
    env: ociRuntimeEnv,
    cwd: '/',
    pidFile: files.pidFile,
    oomScoreAdj: files.oomScoreAdj,
    deadlineMs: Math.min(deadlineMs, longestMs),
    startDeadlineMs: deadlineMs === 0 ? ociRuntime * 1000 : Math.min(ociRuntime * 1000, deadlineMs + startMs),
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
