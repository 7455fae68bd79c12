#!/usr/bin/env node
import './commands/no-debugger.ts'; // before all the others
import './base/no-code-from-text.ts';
import { type Asked, readCommandLine } from './commands/command-line.ts';
import { commands } from './commands/index.ts';
import { complain, tell } from './commands/tell.ts';
import { endProcess } from './sys/end-process.ts';

/** Null, with exit code 2, for a command line that means nothing. */
function understand(args: readonly string[]): Asked | null {
  try {
    return readCommandLine(commands, args);
  } catch (error) {
    complain(error);
    process.exitCode = 2;
    return null;
  }
}

async function obey(run: () => unknown): Promise<void> {
  try {
    await run(); // serve returns when the daemon was told to end
  } catch (error) {
    complain(error);
    endProcess(1); // a daemon that cannot start may have connections to shims, threads and timers already
  }
}

const asked = understand(process.argv.slice(2));
if (asked) void obey('help' in asked ? () => tell(asked.help) : () => asked.command.run(asked.given));
