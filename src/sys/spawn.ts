import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { constants } from 'node:os';
import type { Command, CommandResult } from '../base/command.ts';

/** How long what a program leaves behind may hold its output open once it has ended itself, as in a shim. */
const drainMs = 1000;
/** How long the end of what was killed may take; beyond, it is stuck in the kernel. */
const endMs = 2000;

type Ending = { readonly code: number | null; readonly name: NodeJS.Signals | null };

/**
 * Runs a command as a child of this process, for work that belongs to no pod (probes at start, CNI STATUS and GC).
 * Pods' commands run in their shim, so that the daemon does not fork on the hot path. At the deadline its process group is
 * killed; it ends for the caller then, whatever goes on in another group or is stuck in the kernel.
 */
export async function runHere(command: Command, signal?: AbortSignal): Promise<CommandResult> {
  const [file = '', ...args] = command.argv;
  const env = Object.fromEntries(command.env.map((pair) => pair.split(/=(.*)/s, 2) as [string, string]));
  const child = spawn(file, args, { cwd: command.cwd, env, stdio: 'pipe', detached: true, signal });
  let timedOut = false;
  const late = () => {
    timedOut = true;
    killGroup(child);
  };
  const max = command.maxOutput ?? 1 << 20;
  const [stdout, stderr] = [collect(child.stdout, max), collect(child.stderr, max)];
  child.stdin.on('error', () => {}); // EPIPE: it does not read its input
  child.stdin.end(command.stdin);
  const { code, name } = await endOf(child, command.deadlineMs, late);
  for (const stream of child.stdio) stream?.destroy();
  const number = name ? constants.signals[name] : 0;
  const truncated = stdout.dropped + stderr.dropped > 0;
  return {
    code: code ?? 128 + number,
    signal: number,
    stdout: stdout.bytes(),
    stderr: stderr.bytes(),
    truncated,
    timedOut,
  };
}

/** Its end with all its output; without the rest of that, or its very end, where they do not come. Calls `late` at the deadline. */
async function endOf(child: ChildProcessWithoutNullStreams, deadlineMs: number, late: () => void): Promise<Ending> {
  const { promise, resolve, reject } = Promise.withResolvers<Ending>();
  const timers: NodeJS.Timeout[] = [];
  const inTime = (ms: number, then: () => void) => void timers.push(setTimeout(then, ms));
  child.once('error', reject);
  child.once('close', (code, name) => resolve({ code, name }));
  child.once('exit', (code, name) => inTime(drainMs, () => resolve({ code, name })));
  inTime(deadlineMs, () => {
    late();
    inTime(endMs, () => {
      child.unref();
      resolve({ code: null, name: 'SIGKILL' });
    });
  });
  try {
    return await promise;
  } finally {
    for (const timer of timers) clearTimeout(timer);
  }
}

function killGroup(child: ChildProcessWithoutNullStreams): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, 'SIGKILL');
  } catch {
    child.kill('SIGKILL');
  }
}

function collect(stream: NodeJS.ReadableStream, max: number) {
  const chunks: Buffer[] = [];
  const so = { size: 0, dropped: 0, bytes: () => Buffer.concat(chunks) };
  stream.on('data', (chunk: Buffer) => {
    const kept = chunk.subarray(0, Math.max(max - so.size, 0));
    so.size += kept.length;
    so.dropped += chunk.length - kept.length;
    if (kept.length > 0) chunks.push(kept);
  });
  return so;
}
