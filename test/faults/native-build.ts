import { execFileSync } from 'node:child_process';
import { globSync, mkdtempSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

const native = resolve(import.meta.dirname, '../../native');

/** A folder as BERTH_NATIVE takes it, whose shim calls the C library by way of `source`, which stands in for parts of it. */
export function nativeWith(source: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'berth-native-'));
  const sources = [...globSync(join(native, 'shim/*.c')), source];
  const flags = ['-O1', '-D_GNU_SOURCE', `-Wa,-I${join(native, 'build')}`, '-o', join(folder, 'berth-shim')];
  execFileSync('/usr/bin/cc', [...flags, ...sources], { stdio: 'inherit' });
  for (const name of ['addon.node', 'berth-look', 'berth-environment'])
    symlinkSync(join(native, 'build', name), join(folder, name));
  return folder;
}
