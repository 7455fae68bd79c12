import { longestMs } from '../../base/deadline.ts';
import { Fault, invalidArgument } from '../../base/fault.ts';
import { step, traced } from '../../base/trace.ts';
import type { Container } from '../../model/container.ts';
import { removeFile } from '../../sys/write-file.ts';
import { youngProcesses } from '../../sys/young-processes.ts';
import type { Deps } from '../deps.ts';
import { runningContainer } from '../ready.ts';
import { ociDeadlineMs, ociFault, ociRuntimeEnv } from '../runtime/oci-command.ts';
import { type ExecFiles, prepareExec } from './process.ts';

/** As much of the daemon as is needed here; tests make it of small parts. */
type Needs = Pick<Deps, 'containers' | 'layout' | 'ociRuntimes' | 'settings' | 'shims'>;

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
  deps: Needs,
  id: string,
  command: readonly string[],
  timeoutMs: number,
  signal: AbortSignal,
): Promise<ExecOutput> {
  if (!command[0]) throw invalidArgument('cmd is empty');
  const container = runningContainer(deps, id);
  traced(container.podId, container.id);
  const begin = performance.now();
  const prepared = await step('file: process', () => prepareExec(deps, container, command, false));
  try {
    const { timedOut, started, ...output } = await run(deps, container, prepared, timeoutMs, signal);
    const doing = `The command ${JSON.stringify(command[0])} in container ${container.id}`;
    if (timedOut)
      throw new Fault('DeadlineExceeded', `${doing} timed out${await leftOvers(container, performance.now() - begin)}`);
    if (started) return output;
    const runtime = await deps.ociRuntimes.of(container);
    throw await ociFault({ doing: `${doing} cannot be run`, runtime }, { ...output, timedOut });
  } finally {
    await removeFile(prepared.processFile);
  }
}

/**
 * What may be left of a command that was killed: daemons that it made have the container's first process for their parent, as
 * others have that began meanwhile. A cgroup of its own would tell them apart on v2; but kubelet's cAdvisor takes each for
 * a container, and probes come every second.
 */
async function leftOvers({ cgroupsPath }: Container, ms: number): Promise<string> {
  const left = await youngProcesses(cgroupsPath, ms);
  const shown = left
    .slice(0, 10)
    .join(', ')
    .replace(/[\x00-\x1f\x7f]/g, ' ');
  return left.length === 0 ? '' : `; processes that began there since and go on: ${shown}`;
}

async function run(
  deps: Pick<Deps, 'ociRuntimes' | 'settings' | 'shims'>,
  container: Container,
  files: ExecFiles,
  deadlineMs: number,
  signal: AbortSignal,
) {
  const runtime = await deps.ociRuntimes.of(container);
  const shim = await deps.shims.keeping(container.podId);
  const ociMs = ociDeadlineMs(deps);
  const spec = {
    argv: runtime.exec(container.id, files.pidFile, files.processFile),
    env: ociRuntimeEnv,
    cwd: '/',
    pidFile: files.pidFile,
    oomScoreAdj: files.oomScoreAdj,
    deadlineMs: Math.min(deadlineMs, longestMs),
    startDeadlineMs: deadlineMs === 0 ? ociMs : Math.min(ociMs, deadlineMs + startMs),
    drainMs: deps.settings.timeouts.execDrain * 1000,
    maxOutput,
  };
  return shim.exec(spec, signal);
}
