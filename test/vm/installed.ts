// Berth as a node has it: its package, under systemd in the machine, with the settings that a suite asks for.
import { globSync, mkdirSync, writeFileSync } from 'node:fs';
import { stringify } from 'smol-toml';
import { writeMirrors } from '../conformance/mirrors.ts';
import { run } from '../images/run.ts';
import { packages } from './packages.ts';

/** What the package has for defaults, and where its pods' addresses are kept. */
export const installed = {
  socket: '/run/berth/berth.sock',
  subnet: '10.100.0.0/24',
  ipamDir: '/var/lib/cni/networks',
};

const ipam = { type: 'host-local', ranges: [[{ subnet: installed.subnet }]], routes: [{ dst: '0.0.0.0/0' }] };
const network = {
  cniVersion: '1.0.0',
  name: 'node',
  plugins: [
    { type: 'bridge', bridge: 'node0', isGateway: true, ipMasq: true, hairpinMode: true, ipam },
    { type: 'portmap', capabilities: { portMappings: true }, snat: true },
  ],
};

/**
 * Installs this checkout's package, which the host made (packages.ts), with the systemd cgroup driver and `settings`, in TOML's
 * names; pulls go to the registry at `registry`.
 */
export async function installBerth(registry: string, settings: object): Promise<void> {
  for (const folder of ['/etc/cni/net.d', '/etc/berth']) mkdirSync(folder, { recursive: true });
  writeFileSync('/etc/cni/net.d/10-node.conflist', JSON.stringify(network));
  writeFileSync('/etc/berth/config.toml', stringify({ cgroup_driver: 'systemd', ...settings }));
  writeMirrors('/etc/berth/certs.d', registry);
  const deb = globSync(`${packages.now()}/*.deb`)[0]!;
  await run('/usr/bin/dpkg', ['--force-unsafe-io', '--force-confold', '--install', deb]); // no power fails here
  await run('/usr/bin/systemctl', ['is-active', 'berth']);
}

/** All that the unit wrote. */
export const journal = (): Promise<string> =>
  run('/usr/bin/journalctl', ['--unit=berth', '--output=cat', '--no-pager']);
