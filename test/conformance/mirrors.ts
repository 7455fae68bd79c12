import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** The registries that the suites pull from. */
const hosts = ['registry.k8s.io', 'k8s.gcr.io', 'gcr.io', 'docker.io'];

/** Sends every pull from those registries to the one on loopback (hosts.toml, as containerd reads it). */
export function writeMirrors(folder: string, registry: string): void {
  for (const host of hosts) {
    mkdirSync(join(folder, host), { recursive: true });
    const text = `server = "http://${registry}"\n\n[host."http://${registry}"]\n  capabilities = ["pull", "resolve"]\n`;
    writeFileSync(join(folder, host, 'hosts.toml'), text);
  }
}
