import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { constants } from 'node:os';
import type { Command, CommandResult } from '../base/command.ts';

/**
 * Runs a command as a child of this process, for work that belongs to no pod (probes at start, CNI STATUS and GC).
 * Pods' commands run in their shim, so that the daemon does not fork on the hot path.
 */
export async function runHere(command: Command, signal?: AbortSignal): Promise<CommandResult> {
  const [file = '', ...args] = command.argv;
  const env = Object.fromEntries(command.env.map((pair) => pair.split(/=(.*)/s, 2) as [string, string]));
  const child = spawn(file, args, { cwd: command.cwd, env, stdio: 'pipe', detached: true, signal });
  const killGroup = () => {
    if (child.pid === undefined) return;
    try {
      process.kill(-child.pid, 'SIGKILL');
    } catch {
      child.kill('SIGKILL');
    }
  };
  let timedOut = false;
  const timer = setTimeout(() => {
    timedOut = true;
    killGroup();
  }, command.deadlineMs);
  const max = command.maxOutput ?? 1 << 20;
  const [stdout, stderr] = [collect(child.stdout, max), collect(child.stderr, max)];
  child.stdin.on('error', () => {}); // EPIPE: it does not read its input
  child.stdin.end(command.stdin);
  try {
    const [code, name] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null];
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
  } finally {
    clearTimeout(timer);
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
