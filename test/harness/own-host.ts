// Every test file of test/node, test/hostile, test/crash and test/security has a host of its own, so that they can run beside
// each other and beside anything: own-host.sh says what that is. Not on such a host run: the fuzzer of the shim, whose host
// is poorer still (test/hostile/shim-fuzz.sh), and everything in the machine of test/vm, where systemd is to see the
// processes: that machine is all the test's own.
import { join } from 'node:path';
import { ensureTestImages } from '../images/index.ts';
import { cacheFolder } from '../images/paths.ts';
import { printLogsOfFailures } from './failure-log.ts';

const script = join(import.meta.dirname, 'own-host.sh');

/** What cgroups, which all test hosts share, carry in their names: no two hosts have the same, nor have programs that are on none. */
export const hostName = process.env.BERTH_OWN_HOST ?? `p${process.pid}`;

/** The machine of test/vm, in which systemd and its services run too. */
export const inMachine = hostName === 'machine';

/** The first thing that a test file does: continues it on a host of its own, for which `prepare` fetches and builds. */
export async function ownHost(prepare?: () => Promise<unknown>): Promise<void> {
  await continueOnOwnHost(prepare);
  printLogsOfFailures();
}

/** Runs this program again, on a host of its own; returns there. As its network is loopback, `prepare` comes before. */
export async function continueOnOwnHost(prepare: () => Promise<unknown> = async () => {}): Promise<void> {
  if (process.env.BERTH_OWN_HOST) return;
  const BERTH_TEST_IMAGES = await ensureTestImages();
  await prepare();
  const again = [process.execPath, ...process.execArgv, ...process.argv.slice(1)];
  // Most of what a start of the daemon, or of a test file, costs is the compiling of its sources.
  const NODE_COMPILE_CACHE = cacheFolder('compiled');
  process.execve!('/bin/bash', ['bash', script, ...again], { NODE_COMPILE_CACHE, BERTH_TEST_IMAGES, ...process.env });
}
