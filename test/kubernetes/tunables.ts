import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/**
 * What kubelet would set of the host's kernel (pkg/kubelet/cm, setupKernelTunables). The test's host shows these values, and
 * takes writes to them, without a change of the machine's.
 */
const kernelTunables = {
  'vm/overcommit_memory': 1,
  'vm/panic_on_oom': 0,
  'kernel/panic': 10,
  'kernel/panic_on_oops': 1,
  'kernel/keys/root_maxkeys': 1_000_000,
  'kernel/keys/root_maxbytes': 25_000_000,
};

/** `folder`: where what is shown stands. */
export function showTunables(folder: string): void {
  mkdirSync(folder, { recursive: true });
  for (const [name, value] of Object.entries(kernelTunables)) {
    const file = join(folder, name.replaceAll('/', '.'));
    writeFileSync(file, `${value}\n`);
    execFileSync('/usr/bin/mount', ['--bind', file, join('/proc/sys', name)]);
  }
}

export function hideTunables(): void {
  for (const name of Object.keys(kernelTunables)) execFileSync('/usr/bin/umount', ['-l', join('/proc/sys', name)]);
}
