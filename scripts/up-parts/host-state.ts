import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import type { CommandResult } from '../../src/base/command.ts';
import { unmount } from '../../src/sys/mounts.ts';
import { runHere } from '../../src/sys/spawn.ts';

/** What the bridge and portmap plugins switch on and never off. */
const changed = ['/proc/sys/net/ipv4/ip_forward', '/proc/sys/net/ipv6/conf/all/forwarding'];

/** The values that --down puts back. */
export function sysctlsBefore(): Record<string, string> {
  return Object.fromEntries(changed.flatMap((path) => read(path).map((value) => [path, value])));
}

function read(path: string): string[] {
  try {
    return [readFileSync(path, 'utf8').trim()];
  } catch {
    return []; // a kernel without IPv6
  }
}

export function sysctlsRestore(values: Readonly<Record<string, string>>): void {
  for (const [path, value] of Object.entries(values)) if (existsSync(path)) writeFileSync(path, value);
}

/** The daemon makes the folder of network namespaces a mount; it stays for those of others. */
export function unmountNetns(folder: string): void {
  const others = existsSync(folder) && readdirSync(folder).length > 0;
  if (!others) unmount(folder);
}

const link = (...args: string[]): Promise<CommandResult> =>
  runHere({ argv: ['/usr/sbin/ip', 'link', ...args], env: [], cwd: '/', deadlineMs: 10_000 });

export const hasLink = async (name: string): Promise<boolean> => (await link('show', name)).code === 0;

/** One that is gone already counts as removed. */
export async function removeLink(name: string): Promise<void> {
  await link('delete', name);
}

const iptables = (...args: string[]): Promise<CommandResult> =>
  runHere({
    argv: ['/usr/sbin/iptables', '-w', ...args],
    env: ['PATH=/usr/sbin:/usr/bin:/sbin:/bin'],
    cwd: '/',
    deadlineMs: 10_000,
  });

/** True if the portmap plugin ran on this host before. */
export async function hasPortmapChains(): Promise<boolean> {
  const { stdout } = await iptables('-t', 'nat', '-S');
  return stdout.includes('CNI-HOSTPORT-DNAT');
}

/**
 * The portmap plugin keeps its three top chains for ever. They go unless another network still has rules in them: a
 * chain that is not empty is left alone, and so are the jumps to it.
 */
export async function removePortmapChains(): Promise<void> {
  const own = ['CNI-HOSTPORT-DNAT', 'CNI-HOSTPORT-SNAT', 'CNI-HOSTPORT-MASQ', 'CNI-HOSTPORT-SETMARK'];
  const { stdout } = await iptables('-t', 'nat', '-S');
  const rules = stdout.toString().split('\n');
  if (rules.some((rule) => rule.startsWith('-A CNI-DN-') || rule.startsWith('-A CNI-HOSTPORT-DNAT'))) return;
  for (const rule of rules) {
    const jumps =
      own.some((chain) => rule.includes(`-j ${chain}`)) && /^-A (PREROUTING|OUTPUT|POSTROUTING) /.test(rule);
    if (jumps) await iptables('-t', 'nat', ...words(rule.replace(/^-A/, '-D')));
  }
  for (const chain of own) {
    await iptables('-t', 'nat', '-F', chain);
    await iptables('-t', 'nat', '-X', chain);
  }
}

/** The bridge plugin's rules of a network: DEL removes them, unless somebody emptied the cache that it goes by. */
export async function removeMasquerade(network: string): Promise<void> {
  const { stdout } = await iptables('-t', 'nat', '-S', 'POSTROUTING');
  for (const rule of stdout.toString().split('\n')) {
    const [, chain] = / -j (CNI-[0-9a-f]+)$/.exec(rule) ?? [];
    if (!chain || !words(rule).some((word) => word.startsWith(`name: "${network}" `))) continue;
    await iptables('-t', 'nat', ...words(rule.replace(/^-A/, '-D')));
    await iptables('-t', 'nat', '-F', chain);
    await iptables('-t', 'nat', '-X', chain);
  }
}

/** The words of a rule as iptables -S prints it: blanks separate, double quotes hold together, a backslash escapes. */
const words = (rule: string): string[] =>
  [...rule.matchAll(/"((?:\\.|[^"\\])*)"|(\S+)/g)].map(
    ([, quoted, plain]) => quoted?.replace(/\\(.)/g, '$1') ?? plain ?? '',
  );
