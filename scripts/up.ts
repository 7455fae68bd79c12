// One command from a bare host to a pod's web page, and back. Only what this script made is removed by --down.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import * as cri from '../src/api/runtime/v1/cri.ts';
import { loadSettings } from '../src/base/settings.ts';
import { nodeEnvironment, nodeFlags } from '../src/commands/node-flags.ts';
import { connectTo, type Rpc } from '../src/commands/rpc.ts';
import { removeCgroup } from '../src/sys/cgroups.ts';
import { runHere } from '../src/sys/spawn.ts';
import { makeBundle } from './bundle.ts';
import { demoImage, demoName } from './up-parts/demo-image.ts';
import { hasPortmapChains, removePortmapChains, sysctlsBefore, sysctlsRestore } from './up-parts/host-state.ts';

const folder = resolve(import.meta.dirname, '../dist');
const main = join(folder, 'main.mjs');
const { values } = parseArgs({
  options: { config: { type: 'string', default: '/etc/berth/config.toml' }, down: { type: 'boolean', default: false } },
});
const settings = loadSettings(values.config);
const bridge = 'berth0';
const subnet = '10.88.0.0/16';
const conflist = join(settings.cni.confDir, '10-berth-bridge.conflist');
const logFile = '/var/log/berth.log';

/** What --down needs to know of how the host was before; in Berth's data directory, which goes last. */
type Made = {
  pid: number;
  conflist: boolean;
  directories: string[];
  sysctls: Record<string, string>;
  /** Another runtime's portmap plugin had its chains there before. */
  portmapChains: boolean;
};
const madeFile = join(settings.dataDir, 'up.json');

const began = performance.now();
async function step<T>(what: string, work: () => Promise<T>): Promise<T> {
  const begin = performance.now();
  const result = await work();
  console.log(`${`${(performance.now() - begin).toFixed(0)} ms`.padStart(10)}  ${what}`);
  return result;
}

async function up(): Promise<void> {
  if (existsSync(madeFile)) throw new Error('Berth is up already; remove it with: scripts/up --down');
  const state = join(settings.dataDir, 'v1');
  if (existsSync(state)) throw new Error(`${state} exists: this host runs Berth without this script; leave it alone`);
  await step('the program: bundled into dist/', async () => makeBundle(folder));
  const made = await step('network configuration', prepareHost);
  const client = await step('berth serve: started and serving', () => startDaemon(made));
  try {
    await step(`image ${demoName}: made of the host's busybox and loaded`, loadDemo);
    const { podId, containerId, ip } = await runDemo(client);
    const page = await step(`page of http://${ip}/ fetched`, () => fetchPage(ip));
    console.log(`\n${page.trim()}\n`);
    report(podId, containerId);
  } finally {
    client.close();
  }
}

/** A bridge for pods if the host has no network configuration; remembers every directory that did not exist. */
async function prepareHost(): Promise<Made> {
  const wanted = [
    settings.dataDir,
    settings.runDir,
    settings.cni.cacheDir,
    settings.cni.confDir,
    '/var/lib/cni/networks',
  ];
  const missing = [...new Set(wanted.flatMap(missingDirectories))];
  const has =
    existsSync(settings.cni.confDir) &&
    readdirSync(settings.cni.confDir).some((name) => /\.(conf|conflist|json)$/.test(name));
  const made: Made = {
    pid: 0,
    conflist: !has,
    directories: missing,
    sysctls: sysctlsBefore(),
    portmapChains: await hasPortmapChains(),
  };
  mkdirSync(settings.dataDir, { recursive: true, mode: 0o711 });
  writeFileSync(madeFile, JSON.stringify(made));
  if (has) return made;
  mkdirSync(settings.cni.confDir, { recursive: true });
  const ipam = { type: 'host-local', ranges: [[{ subnet }]], routes: [{ dst: '0.0.0.0/0' }] };
  const plugins = [
    { type: 'bridge', bridge, isGateway: true, ipMasq: true, hairpinMode: true, ipam },
    { type: 'portmap', capabilities: { portMappings: true }, snat: true },
  ];
  writeFileSync(conflist, `${JSON.stringify({ cniVersion: '1.0.0', name: 'berth-bridge', plugins }, null, 2)}\n`);
  return made;
}

/** The path and its parents that do not exist, the deepest first. */
function missingDirectories(path: string): string[] {
  return existsSync(path) ? [] : [path, ...missingDirectories(dirname(path))];
}

async function startDaemon(made: Made): Promise<Rpc<cri.RuntimeServiceClient>> {
  const log = openSync(logFile, 'a', 0o600);
  const child = spawn(process.execPath, [...nodeFlags, main, 'serve', '--config', values.config], {
    env: { ...process.env, ...nodeEnvironment },
    detached: true,
    stdio: ['ignore', log, log],
    cwd: '/',
  });
  closeSync(log);
  const ended = once(child, 'exit').then(([code]) => {
    throw new Error(`berth serve ended with code ${code}: see ${logFile}`);
  });
  ended.catch(() => {}); // after this function nobody waits for it
  writeFileSync(madeFile, JSON.stringify({ ...made, pid: child.pid }));
  while (!existsSync(settings.socket)) await Promise.race([delay(10), ended]);
  child.unref();
  const client = connectTo(cri.RuntimeServiceClient, cri, settings.socket);
  await client.version({});
  return client;
}

async function loadDemo(): Promise<void> {
  const file = join(settings.runDir, 'demo-image.tar');
  writeFileSync(file, await demoImage(readFileSync('/bin/busybox')));
  try {
    const argv = [process.execPath, main, 'load', '--config', values.config, file];
    const { code, stderr } = await runHere({ argv, env: ['PATH=/usr/bin:/bin'], cwd: '/', deadlineMs: 60_000 });
    if (code !== 0) throw new Error(`berth load failed: ${stderr}`);
  } finally {
    rmSync(file);
  }
}

async function runDemo(client: Rpc<cri.RuntimeServiceClient>) {
  const config = {
    metadata: { name: 'hello', namespace: 'default', uid: 'hello', attempt: 0 },
    hostname: 'hello',
    logDirectory: '/var/log/pods/hello',
    linux: {},
  };
  const { podSandboxId: podId } = await step('RunPodSandbox: namespaces, CNI ADD', () =>
    client.runPodSandbox({ config }),
  );
  const container = {
    metadata: { name: 'web', attempt: 0 },
    image: { image: demoName },
    args: ['/bin/httpd', '-f', '-v', '-p', '80', '-h', '/www'],
    logPath: 'web.log',
  };
  const { containerId } = await step('CreateContainer: layer, root, bundle', () =>
    client.createContainer({ podSandboxId: podId, config: container, sandboxConfig: config }),
  );
  await step('StartContainer: OCI runtime', () => client.startContainer({ containerId }));
  const { status } = await client.podSandboxStatus({ podSandboxId: podId });
  return { podId, containerId, ip: status?.network?.ip ?? '' };
}

/** The server listens a moment after its process started. */
async function fetchPage(ip: string): Promise<string> {
  for (let tries = 100; ; tries--) {
    try {
      return await (await fetch(`http://${ip}/`)).text();
    } catch (error) {
      if (tries === 0) throw error;
      await delay(10);
    }
  }
}

function report(podId: string, containerId: string): void {
  console.log(`Berth is up after ${((performance.now() - began) / 1000).toFixed(1)} s. Its log: ${logFile}`);
  console.log(`Pod ${podId.slice(0, 13)}, container ${containerId.slice(0, 13)}. Go on with crictl:\n`);
  console.log(`  crictl --runtime-endpoint unix://${settings.socket} ps`);
  console.log('\nRemove all of it: scripts/up --down');
}

async function down(): Promise<void> {
  if (!existsSync(madeFile)) return console.log('Berth is not up: there is nothing to remove.');
  const made: Made = JSON.parse(readFileSync(madeFile, 'utf8'));
  if (!isBerth(made.pid))
    await step('berth serve: started again to remove its pods', async () => (await startDaemon(made)).close());
  const { pid }: Made = JSON.parse(readFileSync(madeFile, 'utf8'));
  await step('every pod removed', removePods);
  await step('berth serve: ended', () => endDaemon(pid));
  await step('files, bridge, cgroup and rules removed', () => removeTraces(made));
}

function isBerth(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(`${main}\0serve`);
  } catch {
    return false;
  }
}

async function removePods(): Promise<void> {
  const client = connectTo(cri.RuntimeServiceClient, cri, settings.socket);
  try {
    const { items } = await client.listPodSandbox({});
    await Promise.all(items.map(({ id }) => client.removePodSandbox({ podSandboxId: id })));
  } finally {
    client.close();
  }
}

async function endDaemon(pid: number): Promise<void> {
  process.kill(pid, 'SIGTERM');
  for (let tries = 1000; isBerth(pid); tries--) {
    if (tries === 0) throw new Error(`berth serve (pid ${pid}) does not end`);
    await delay(10);
  }
}

async function removeTraces({ conflist: ours, directories, sysctls, portmapChains }: Made): Promise<void> {
  if (ours) {
    rmSync(conflist, { force: true });
    await runHere({ argv: ['/usr/sbin/ip', 'link', 'delete', bridge], env: [], cwd: '/', deadlineMs: 10_000 });
    if (!portmapChains) await removePortmapChains();
    rmSync('/var/lib/cni/networks/berth-bridge', { recursive: true, force: true });
    sysctlsRestore(sysctls);
  }
  await removeCgroup(settings.cgroupParent);
  rmSync('/var/log/pods/hello', { recursive: true, force: true });
  rmSync(logFile, { force: true });
  // Directories that were there before stay, and so do those that hold what others put there since.
  const whole = [settings.dataDir, settings.runDir, settings.cni.cacheDir];
  for (const path of directories.filter((made) => existsSync(made))) {
    if (whole.includes(path)) rmSync(path, { recursive: true });
    else if (readdirSync(path).length === 0) rmdirSync(path);
  }
  rmSync(madeFile, { force: true });
}

await (values.down ? down() : up());
process.exit(0); // kept-alive HTTP connections must not hold it up
