// What a process holds, for sweeps that look for growth.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestDaemon } from '../harness/daemon.ts';

export type Held = { readonly rssKB: number; readonly descriptors: number; readonly threads: number };

export function heldBy(pid: number): Held {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const figure = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(status)?.[1] ?? 0);
  return { rssKB: figure('VmRSS'), descriptors: readdirSync(`/proc/${pid}/fd`).length, threads: figure('Threads') };
}

/** The process that keeps a pod. */
export function shimPid(daemon: TestDaemon, podId: string): number {
  const folder = join(daemon.runDir, 'pods', podId);
  const isIt = (pid: string) => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')[1] === folder;
    } catch {
      return false; // it ended
    }
  };
  const pid = readdirSync('/proc').find((name) => /^\d+$/.test(name) && isIt(name));
  if (!pid) throw new Error(`Pod ${podId} has no shim`);
  return Number(pid);
}
