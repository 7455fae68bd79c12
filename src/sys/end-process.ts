import { flushCompileCache } from 'node:module';
import { loadAddon } from './addon.ts';

type EndAddon = { endProcess(code: number): never };

/**
 * Ends this process with an exit code, whatever is open, as _exit(2) does. process.exit waits for the threads of V8's
 * compilers, and one that needs memory waits for the collector, which is the thread that waits for it: such a process never
 * ends (nodejs/node#54918). All that was written is out: standard output and error are synchronous but on Windows.
 */
export function endProcess(code: number): never {
  flushCompileCache(); // what tests set; nothing otherwise
  return loadAddon<EndAddon>().endProcess(code);
}
