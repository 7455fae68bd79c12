import { flushCompileCache } from 'node:module';
import { loadAddon } from './addon.ts';
import { flushStandardError } from './log-output.ts';

type EndAddon = { endProcess(code: number): never };

/**
 * Ends this process with an exit code, whatever is open, as _exit(2) does. process.exit waits for the threads of V8's
 * compilers, and one that needs memory waits for the collector, which is the thread that waits for it: such a process never
 * ends (nodejs/node#54918). What was written is out: standard output is synchronous, and the log gets its second.
 */
export function endProcess(code: number): never {
  flushStandardError();
  flushCompileCache(); // what tests set; nothing otherwise
  return loadAddon<EndAddon>().endProcess(code);
}
