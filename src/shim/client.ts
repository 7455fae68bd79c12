import { basename } from 'node:path';
import type { Message } from '../../proto/shim.ts';
import { maxCapture } from '../../proto/shim.ts';
import type { Command, CommandResult } from '../base/command.ts';
import { invalidArgument } from '../base/fault.ts';
import { stepElsewhere } from '../base/trace.ts';
import type { Connection } from './connection.ts';
import { errnoName } from './errno.ts';
import { millis } from './exit-file.ts';
import type { ExecSpec, LogLoss, SandboxSpec, Shim, ShimExit, ShimProcess, StartSpec } from './types.ts';

/** What the shim may add to a deadline that it keeps itself: killing, reaping, the way here and back. */
const marginMs = 5_000;
/** For what the shim does at once, with a busy disk in its way. */
const promptMs = 10_000;
const sandboxMs = 20_000;
const drainMs = 1_000;
const runOutput = 1024 * 1024;

/** The wire's record of an exit as the rest of Berth sees it. */
export const exitOf = (exit: Message<'exit'> | Message<'entry'>): ShimExit => ({
  key: exit.key,
  pid: exit.pid,
  code: exit.code,
  signal: exit.signal,
  oomKilled: exit.oomKilled,
  at: millis(exit.atSeconds, exit.atNanos),
});

/** What a log lost, as the rest of Berth sees it. */
export const lossOf = ({ lostBytes, lostLines, lostError }: Message<'logLost'> | Message<'entry'>): LogLoss => ({
  bytes: lostBytes,
  lines: lostLines,
  error: lostError === 0 ? '' : errnoName(lostError),
});

const processOf = (entry: Message<'entry'>): ShimProcess => ({
  key: entry.key,
  pid: entry.pid,
  exit: entry.ended ? exitOf(entry) : null,
  lost: lossOf(entry),
});

const bufferOf = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** The wire's record of an ended command. */
export const resultOf = (result: Message<'result'>): CommandResult => ({
  code: result.code,
  signal: result.signal,
  stdout: bufferOf(result.stdout),
  stderr: bufferOf(result.stderr),
  truncated: result.stdoutTruncated || result.stderrTruncated,
  timedOut: result.timedOut,
});

/** A deadline as the wire has it; InvalidArgument unless it is above 0 (or 0, where that means none). */
export function deadline(ms: number, step: string, none = false): number {
  if (!(ms >= (none ? 0 : 1)) || ms > 0x7fffffff) throw invalidArgument(`The deadline of ${step} is ${ms} ms`);
  return Math.ceil(ms);
}

/** Sends a request that runs a command. An abort has the shim kill the command, and then rejects with its reason. */
async function command<Name extends 'run' | 'exec'>(
  connection: Connection,
  name: Name,
  fields: Message<Name>,
  options: { step: string; deadlineMs: number },
  signal: AbortSignal | undefined,
): Promise<Message<'result'>> {
  signal?.throwIfAborted();
  let cancel = () => {};
  const onSent = (request: number) => {
    cancel = () => {
      const cancelled = connection.request('cancel', { request }, 'done', { step: 'cancel', deadlineMs: promptMs });
      cancelled.catch(() => {}); // the command's own reply, or its deadline, tells
    };
  };
  const leave = () => cancel();
  signal?.addEventListener('abort', leave, { once: true });
  try {
    const { fields: result } = await connection.request(name, fields, 'result', { ...options, onSent });
    signal?.throwIfAborted();
    return result;
  } catch (error) {
    signal?.throwIfAborted();
    throw error;
  } finally {
    signal?.removeEventListener('abort', leave);
  }
}

/** `crun run`, `bridge ADD`: the program, and what it was told to do. */
function commandName(argv: readonly string[], env: readonly string[]): string {
  const verb =
    env.find((entry) => entry.startsWith('CNI_COMMAND='))?.slice('CNI_COMMAND='.length) ??
    argv.find((word) => /^(create|start|state|run|exec|delete|kill|update)$/.test(word));
  return [basename(argv[0] ?? ''), ...(verb === undefined ? [] : [verb])].join(' ');
}

/** The time that the shim measured, from fork to reaping: what is beside it is the way here and back. */
function keepTime({ argv, env }: Pick<Command, 'argv' | 'env'>, { begunUs, endedUs }: Message<'result'>): void {
  stepElsewhere(`process: ${commandName(argv, env)}`, begunUs, endedUs);
}

async function run(connection: Connection, spec: Command, signal?: AbortSignal): Promise<CommandResult> {
  const step = `run of ${spec.argv[0]}`;
  const fields = {
    argv: spec.argv,
    env: spec.env,
    cwd: spec.cwd,
    stdin: spec.stdin ?? new Uint8Array(),
    deadlineMs: deadline(spec.deadlineMs, step),
    drainMs,
    maxOutput: Math.min(spec.maxOutput ?? runOutput, maxCapture),
  };
  const deadlineMs = spec.deadlineMs + drainMs + marginMs;
  const result = await command(connection, 'run', fields, { step, deadlineMs }, signal);
  keepTime(spec, result);
  return resultOf(result);
}

async function start(connection: Connection, spec: StartSpec): Promise<CommandResult & { pid: number }> {
  const step = `start of ${spec.key}`;
  const logDeadlineMs = deadline(spec.logDeadlineMs, `${step}: its log`);
  const fields = { ...spec, deadlineMs: deadline(spec.deadlineMs, step), drainMs, logDeadlineMs };
  const { fields: result } = await connection.request('start', fields, 'result', {
    step,
    deadlineMs: spec.logDeadlineMs + spec.deadlineMs + drainMs + marginMs,
  });
  keepTime(spec, result);
  return { ...resultOf(result), pid: result.pid };
}

/** A score on the wire. */
export const scoreOf = ({ oomScoreAdj }: { readonly oomScoreAdj?: number }) => ({
  adjustOom: oomScoreAdj !== undefined,
  oomScoreAdj: oomScoreAdj ?? 0,
});

async function exec(
  connection: Connection,
  spec: ExecSpec,
  signal?: AbortSignal,
): Promise<CommandResult & { started: boolean }> {
  const step = `exec of ${spec.argv[0]}`;
  const fields = {
    argv: spec.argv,
    env: spec.env,
    cwd: spec.cwd,
    pidFile: spec.pidFile,
    startDeadlineMs: deadline(spec.startDeadlineMs, step),
    deadlineMs: deadline(spec.deadlineMs, step, true),
    drainMs: deadline(spec.drainMs, `${step}: its output`, true),
    maxOutput: Math.min(spec.maxOutput, maxCapture),
    ...scoreOf(spec),
  };
  const own = spec.deadlineMs === 0 ? Infinity : spec.deadlineMs;
  const deadlineMs = spec.startDeadlineMs + own + spec.drainMs + marginMs;
  const result = await command(connection, 'exec', fields, { step, deadlineMs }, signal);
  keepTime(spec, result);
  return { ...resultOf(result), started: result.started };
}

async function sandbox(connection: Connection, spec: SandboxSpec): Promise<Message<'sandboxed'>> {
  const { oomScoreAdj, userMaps, ...rest } = spec;
  const fields = {
    ...rest,
    adjustOom: oomScoreAdj !== null,
    oomScoreAdj: oomScoreAdj ?? 0,
    uidMap: userMaps?.uids ?? '',
    gidMap: userMaps?.gids ?? '',
  };
  const options = { step: 'making of the sandbox', deadlineMs: sandboxMs };
  const { fields: sandboxed } = await connection.request('sandbox', fields, 'sandboxed', options);
  stepElsewhere('process: pause, with its namespaces', sandboxed.begunUs, sandboxed.endedUs);
  return sandboxed;
}

/** The calls of a shim over a connection; `own` is what takes more than this connection. */
export function shimOver(
  connection: Connection,
  { shimPid: pid, findsLogs }: Pick<Message<'welcome'>, 'shimPid' | 'findsLogs'>,
  own: Pick<Shim, 'shutdown' | 'close' | 'openExec' | 'attach'>,
): Shim {
  const prompt = (step: string) => ({ step, deadlineMs: promptMs });
  return {
    pid,
    findsLogs,
    ...own,
    sandbox: (spec) => sandbox(connection, spec),
    run: (spec, signal) => run(connection, spec, signal),
    start: (spec) => start(connection, spec),
    exec: (spec, signal) => exec(connection, spec, signal),
    signal: async (key, signo, options) => {
      const fields = { key, signo, all: options?.all ?? false };
      const reply = await connection.request('signal', fields, 'signalled', prompt(`signal to ${key}`));
      return reply.fields.delivered;
    },
    setSysctls: async (settings) => {
      const options = { step: 'setting of sysctls', deadlineMs: sandboxMs };
      await connection.request('sysctls', { settings }, 'done', options);
    },
    hold: async (key = '') => {
      const { fields } = await connection.request('hold', { key }, 'held', prompt('holding of namespaces'));
      return fields;
    },
    reopenLog: async (key, deadlineMs) => {
      const step = `reopening of the log of ${key}`;
      const fields = { key, deadlineMs: deadline(deadlineMs, step) };
      await connection.request('reopenLog', fields, 'done', { step, deadlineMs: deadlineMs + marginMs });
    },
    list: async () => {
      const { fields, entries } = await connection.request('list', {}, 'listed', prompt('list'));
      return { pausePid: fields.pausePid, processes: entries.map(processOf) };
    },
    forget: async (key) => {
      await connection.request('forget', { key }, 'done', prompt(`forgetting of ${key}`));
    },
  };
}
