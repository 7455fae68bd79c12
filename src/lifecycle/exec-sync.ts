import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { errorText } from '../base/command.ts';
import { Fault, failedPrecondition, invalidArgument, notFound } from '../base/fault.ts';
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
  const runtime = deps.ociRuntimes.get(deps.pods.get(container.podId)?.handler ?? '');
  const pidFile = join(
    runPaths(deps).bundle(container.podId, container.id),
    `exec-${randomBytes(6).toString('hex')}.pid`,
  );
  const shim = await deps.shims.ensure(container.podId);
  const result = await shim.exec(
    {
      argv: runtime.exec(container.id, pidFile, command),
      env: ociRuntimeEnv,
      cwd: '/',
      pidFile,
      deadlineMs: timeoutMs,
      startDeadlineMs: deps.settings.timeouts.ociRuntime * 1000,
      drainMs: deps.settings.timeouts.execDrain * 1000,
      maxOutput,
    },
    signal,
  );
  if (result.timedOut) {
    throw new Fault(
      'DeadlineExceeded',
      `The command ${JSON.stringify(command[0])} in container ${container.id} timed out`,
    );
  }
  if (!result.started) {
    const reason = errorText(Buffer.concat([result.stdout, result.stderr])) || `exit code ${result.code}`;
    throw new Fault('Internal', `Cannot run ${JSON.stringify(command[0])} in container ${container.id}: ${reason}`);
  }
  return { stdout: result.stdout, stderr: result.stderr, code: result.code };
}
