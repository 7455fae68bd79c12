import type { Writable } from 'node:stream';
import { Fault, invalidArgument } from '../../base/fault.ts';
import type { Container } from '../../model/container.ts';
import type { ProcessIo } from '../../model/process-io.ts';
import type { OpenExec, Stdio } from '../../shim/index.ts';
import { setWindowSize, terminalOf, writeTo } from '../../sys/streams.ts';
import { removeFile } from '../../sys/write-file.ts';
import type { Deps } from '../deps.ts';
import { runningContainer } from '../ready.ts';
import { ociDeadlineMs, ociFault, ociRuntimeEnv } from '../runtime/oci-command.ts';
import { prepareExec } from './process.ts';
import { drain, feed, type Pump, pump, pumpFrom } from './pump.ts';

/** As much of the daemon as is needed here; tests make it of small parts. */
type Needs = Pick<Deps, 'containers' | 'layout' | 'ociRuntimes' | 'settings' | 'shims'>;

export type ExecCommand = { readonly args: readonly string[]; readonly tty: boolean };

/**
 * Runs a command in a running container with the client's streams; resolves with its exit code when its output is
 * delivered. A client that leaves hangs up, as a terminal does: the streams close, what the command makes of that is
 * its own affair. @throws Fault
 */
export async function execStream(deps: Needs, id: string, command: ExecCommand, io: ProcessIo): Promise<number> {
  if (!command.args[0]) throw invalidArgument('cmd is empty');
  const container = runningContainer(deps, id);
  const { stdio, ended, abandon } = await open(deps, container, command, io);
  ended.catch(() => {}); // it is awaited below, after the streams are joined
  if (!stdio) {
    const doing = `The command ${JSON.stringify(command.args[0])} in container ${container.id} cannot be run`;
    throw await ociFault({ doing, runtime: await deps.ociRuntimes.of(container) }, await ended);
  }
  const { pumps, hangUp } = command.tty ? joinTerminal(stdio, io) : joinPipes(stdio, io);
  const leave = () => {
    hangUp();
    abandon();
  };
  io.left.addEventListener('abort', leave, { once: true });
  if (io.left.aborted) leave();
  try {
    const { code } = await ended;
    await drain(pumps, deps.settings.timeouts.execDrain * 1000);
    return code;
  } finally {
    io.left.removeEventListener('abort', leave);
    hangUp();
  }
}

async function open(
  deps: Pick<Deps, 'layout' | 'ociRuntimes' | 'settings' | 'shims'>,
  container: Container,
  { args, tty }: ExecCommand,
  io: ProcessIo,
): Promise<OpenExec> {
  const { processFile, pidFile, oomScoreAdj } = await prepareExec(deps, container, args, tty);
  try {
    const runtime = await deps.ociRuntimes.of(container);
    const shim = await deps.shims.keeping(container.podId);
    return await shim.openExec({
      argv: runtime.exec(container.id, pidFile, processFile, tty),
      env: ociRuntimeEnv,
      cwd: '/',
      pidFile,
      oomScoreAdj,
      startDeadlineMs: ociDeadlineMs(deps),
      tty,
      stdin: io.stdin !== null,
      stdout: io.stdout !== null,
      stderr: io.stderr !== null,
    });
  } finally {
    await removeFile(processFile);
  }
}

type Joined = { readonly pumps: readonly Pump[]; readonly hangUp: () => void };

function joinPipes({ input, stdout, stderr }: Stdio, io: ProcessIo): Joined {
  const stdin = input === null ? null : writeTo(input);
  const pumps = [...pumpFrom(stdout, io.stdout), ...pumpFrom(stderr, io.stderr)];
  if (stdin && io.stdin) void feed(io.stdin, stdin, true);
  return {
    pumps,
    hangUp: () => [stdin, ...pumps.map(({ source }) => source)].forEach((stream) => void stream?.destroy()),
  };
}

/** The end of the client's input is not the end of the terminal: its output goes on. */
function joinTerminal({ input: master }: Stdio, io: ProcessIo): Joined {
  if (master === null) throw new Fault('Internal', 'The shim gave no terminal');
  const terminal = terminalOf(master);
  if (io.stdin) void feed(io.stdin, terminal, false);
  io.onResize(({ rows, columns }) => {
    if (!terminal.destroyed) setWindowSize(master, rows, columns);
  });
  const pumps = io.stdout ? [pump(terminal, io.stdout)] : dropped(terminal);
  return { pumps, hangUp: () => terminal.destroy() };
}

/** A terminal that nobody reads would stop the process when it is full. */
function dropped(terminal: Writable & NodeJS.ReadableStream): Pump[] {
  terminal.on('error', () => {});
  terminal.resume();
  return [];
}
