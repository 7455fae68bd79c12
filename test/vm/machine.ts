// A machine that has what a test host lacks: cgroup v2 alone, systemd as PID 1, AppArmor, an older kernel. QEMU emulates
// it, so that it needs no virtualization: a boot takes half a minute, and work is some ten times slower than on the host.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { cacheFolder } from '../images/paths.ts';
import { program } from '../images/run.ts';
import { ensureMachine } from './disk.ts';

const checkout = resolve(import.meta.dirname, '../..');

export type MachineOptions = {
  readonly onLine: (line: string) => void;
  /** In the host's time. */
  readonly timeoutMs: number;
  /**
   * What its time goes by. `instructions`, a nanosecond each: what runs there sees a processor of usual speed, however long the
   * emulation takes and whatever else the host does; and while all there wait, the clock goes on to the next timer at once, also
   * when what they wait for is the host's to give.
   */
  readonly clock?: 'real' | 'instructions';
};

/**
 * Boots the machine, runs a bash script there as root in this checkout (which it may write to) and resolves to the
 * script's exit code. Nothing else of the machine stays. Throws if it ended without one.
 */
export async function runInMachine(
  script: string,
  { onLine, timeoutMs, clock = 'real' }: MachineOptions,
): Promise<number> {
  const machine = await ensureMachine();
  const work = mkdtempSync(join(cacheFolder('work'), 'machine-'));
  const command = join(work, 'command');
  writeFileSync(command, script);
  const child = spawn(program('qemu-system-x86_64', 'qemu-system-x86'), qemuArguments(machine, command, clock), {
    stdio: ['ignore', 'pipe', 'inherit'],
    timeout: timeoutMs,
    killSignal: 'SIGKILL',
  });
  const stop = () => child.kill('SIGKILL');
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, stop); // it must not outlive us
  let code: number | null = null;
  createInterface({ input: child.stdout }).on('line', (raw) => {
    const line = raw.replace(/\r$/, '');
    const [, exit] = /^machine: exit (\d+)$/.exec(line) ?? [];
    if (exit === undefined) onLine(line);
    else code = Number(exit);
  });
  await once(child, 'close');
  const log = existsSync(`${command}.console`) ? readFileSync(`${command}.console`, 'utf8') : '';
  rmSync(work, { recursive: true });
  if (code === null) throw new Error(`The machine ended before its script did; its console:\n${log.slice(-3000)}`);
  return code;
}

/** What a script in the machine begins with: the pinned Node, and that all of the machine is the tests' own, with the test images at `images`. */
export function scriptHead(images: string, more: Readonly<Record<string, string>> = {}): string {
  const inside = (path: string) => `$PWD/${relative(checkout, path)}`;
  const variables = {
    PATH: `${inside(dirname(process.execPath))}:$PATH`,
    NODE_COMPILE_CACHE: inside(cacheFolder('compiled')),
    BERTH_TEST_IMAGES: inside(images),
    BERTH_OWN_HOST: 'machine',
    BERTH_TEST_CGROUP_DRIVER: 'systemd',
    ...more,
  };
  const assignments = Object.entries(variables).map(([name, value]) => `${name}="${value}"`);
  return `export ${assignments.join(' ')}\nuname -r\n`;
}

/**
 * The machine sees this checkout and nothing else of the host: what leads out of it, as a worktree's links to another checkout's
 * packages do, would lead nowhere there. @throws Error that names the link
 */
export function refuseLinksOut(folder: string): void {
  const cache = join(folder, '.cache');
  const kept = existsSync(cache) ? readdirSync(cache).map((name) => join('.cache', name)) : [];
  for (const name of ['node_modules', ...kept]) {
    const target = realpathSync(join(folder, name));
    if (target.startsWith(`${realpathSync(folder)}/`)) continue;
    throw new Error(
      `scripts/vm-tests: ${join(folder, name)} leads to ${target}, which the machine does not see: it has this checkout alone. Run it in a checkout that has its own`,
    );
  }
}

function qemuArguments(machine: string, command: string, clock: MachineOptions['clock']): string[] {
  const kernel = `root=/dev/vda rw console=ttyS0 quiet mitigations=off apparmor=1 test-run=${command.slice(checkout.length + 1)}`;
  return [
    // A second processor spins while the first, which waits for it, is emulated; newer ones' vectors are slow to emulate.
    ...['-accel', 'tcg,thread=single', '-cpu', 'Nehalem', '-smp', '1', '-m', '3072'],
    ...(clock === 'instructions' ? ['-icount', 'shift=0,sleep=off', '-rtc', 'clock=vm'] : []),
    ...['-nodefaults', '-display', 'none', '-no-reboot', '-serial', `file:${command}.console`],
    ...['-kernel', join(machine, 'vmlinuz'), '-initrd', join(machine, 'initrd.img'), '-append', kernel],
    // Changes go to a file without a name, and with the machine.
    ...['-drive', `file=${join(machine, 'disk')},format=raw,if=virtio,snapshot=on,cache=unsafe`],
    ...['-virtfs', `local,path=${checkout},mount_tag=checkout,security_model=none`],
    ...['-device', 'virtio-serial', '-chardev', 'stdio,id=out,signal=off', '-device', 'virtconsole,chardev=out'],
    ...['-device', 'virtio-rng-pci'],
  ];
}
