// What the daemons of a test logged is printed if the test failed.
import { afterEach, beforeEach } from 'node:test';

const longest = 300;
const lines: string[] = [];

/** Keeps a line that a daemon logged. */
export function keepLine(line: string): void {
  lines.push(line);
  if (lines.length > 2 * longest) lines.splice(0, lines.length - longest);
}

/** Prints what was logged since the test began. */
export function printLog(test: string): void {
  if (lines.length === 0) return;
  const last = lines.splice(0).slice(-longest);
  process.stderr.write(`The daemon's log of "${test}":\n${last.map((line) => `  ${line}\n`).join('')}`);
}

/** From now on every failed test of this file prints its log. */
export function printLogsOfFailures(): void {
  beforeEach(() => void lines.splice(0));
  afterEach((t) => {
    if ('passed' in t && !t.passed) printLog(t.name);
  });
}
