import { existsSync, readFileSync } from 'node:fs';
import { errorText } from '../../base/command.ts';
import { Fault, failedPrecondition, isErrno } from '../../base/fault.ts';
import { defaultProfile, defaultProfileText } from '../../oci/index.ts';
import { runHere } from '../../sys/spawn.ts';

const loadedList = '/sys/kernel/security/apparmor/profiles';
const parsers = ['/sbin/apparmor_parser', '/usr/sbin/apparmor_parser'];
const deadlineMs = 30_000;
let loading: Promise<void> | null = null;

/**
 * Sees to it that the profile can be used: Berth's own is loaded, once in a daemon's life so that it is this version's;
 * any other has to be there. `''` and `unconfined` need nothing.
 * @throws Fault FailedPrecondition
 */
export async function ensureProfile(name: string): Promise<void> {
  if (name === '' || name === 'unconfined') return;
  if (name !== defaultProfile) return checkLoaded(name);
  loading ??= loadDefault();
  try {
    await loading;
  } catch (error) {
    loading = null; // the operator may mend it
    throw error;
  }
}

/** Lines are `name (mode)`. Without securityfs the OCI runtime has to find out. */
function checkLoaded(name: string): void {
  let text: string;
  try {
    text = readFileSync(loadedList, 'utf8');
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'EACCES')) return;
    throw error;
  }
  if (text.split('\n').some((line) => line.slice(0, line.lastIndexOf(' (')) === name)) return;
  throw failedPrecondition(
    `AppArmor profile ${JSON.stringify(name)} is not loaded on this host: load it with apparmor_parser`,
  );
}

async function loadDefault(): Promise<void> {
  const parser = parsers.find((path) => existsSync(path));
  if (!parser) {
    throw failedPrecondition(
      'AppArmor is on, but there is no apparmor_parser to load the default profile: install apparmor',
    );
  }
  // --skip-cache: text from standard input has no name to be cached under.
  const argv = [parser, '--replace', '--skip-cache'];
  const stdin = Buffer.from(defaultProfileText);
  const { code, stdout, stderr } = await runHere({ argv, env: [], cwd: '/', stdin, deadlineMs });
  if (code === 0) return;
  throw new Fault(
    'Internal',
    `Cannot load AppArmor profile ${defaultProfile}: ${errorText(stderr) || errorText(stdout)}`,
  );
}
