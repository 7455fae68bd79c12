import { execFileSync } from 'node:child_process';

/** Takes away the rules that the bridge plugin made for ipMasq and that name `whose` (a network or a pod), as a reboot does. */
export function removeRules(whose: string): void {
  const saved = execFileSync('/usr/sbin/iptables-save', ['-t', 'nat'], { encoding: 'utf8' });
  const rules = saved.split('\n').filter((rule) => rule.startsWith('-A ') && rule.includes(whose));
  const run = (command: string) => execFileSync('/bin/sh', ['-c', `iptables -t nat ${command}`]);
  for (const rule of rules.filter((each) => each.startsWith('-A POSTROUTING'))) run(rule.replace('-A', '-D'));
  const chains = new Set(rules.map((rule) => rule.split(' ')[1]!).filter((chain) => chain.startsWith('CNI-')));
  for (const chain of chains) {
    run(`-F ${chain}`);
    run(`-X ${chain}`);
  }
}
