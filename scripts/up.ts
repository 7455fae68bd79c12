// One command from a bare host to a pod's web page, and back. Only what this script made is removed by --down.
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { messageOf } from '../src/base/fault.ts';
import { loadSettings } from '../src/base/settings.ts';
import { cgroupFolders, removeCgroup } from '../src/sys/cgroups.ts';
import { endProcess } from '../src/sys/end-process.ts';
import { isMountPoint } from '../src/sys/mounts.ts';
import { runHere } from '../src/sys/spawn.ts';
import { mainProgram, makeBundle } from './bundle.ts';
import { optionsOf } from './options.ts';
import { type Commands, missingCommands, putCommands } from './up-parts/commands.ts';
import { Daemon } from './up-parts/daemon.ts';
import { fetchPage, runDemo } from './up-parts/demo.ts';
import { demoImage, demoName } from './up-parts/demo-image.ts';
import {
  hasLink,
  hasPortmapChains,
  removeLink,
  removeMasquerade,
  removePortmapChains,
  sysctlsBefore,
  sysctlsRestore,
  unmountNetns,
} from './up-parts/host-state.ts';
import { step } from './up-parts/step.ts';
import { type Before, logFile, lookAround, namesIn, removeTraces } from './up-parts/traces.ts';

const folder = resolve(import.meta.dirname, '../dist');
const main = mainProgram(folder);
const { values } = optionsOf('scripts/up --help', {
  options: { config: { type: 'string' }, down: { type: 'boolean', default: false } },
});
/** The usual configuration need not exist, one that was named must. */
const configOptions = values.config === undefined ? [] : ['--config', values.config];
const downCommand = ['scripts/up', ...configOptions, '--down'].join(' ');
const bridge = 'berth0';
const network = 'berth-bridge';
const subnet = '10.88.0.0/16';

/** What --down needs to know of how the host was before. In Berth's data directory, written first and removed last. */
type Made = Before & {
  conflist: boolean;
  cgroup: boolean;
  netnsMount: boolean;
  sysctls: Record<string, string>;
  /** Another runtime's portmap plugin had its chains there before. */
  portmapChains: boolean;
};

/** Where things are on this host, by its configuration. */
function placesHere() {
  const settings = loadSettings(values.config);
  return {
    settings,
    conflist: join(settings.cni.confDir, '10-berth-bridge.conflist'),
    madeFile: join(settings.dataDir, 'up.json'),
    daemon: new Daemon(main, configOptions, settings.socket),
  };
}
type Places = ReturnType<typeof placesHere>;

const began = performance.now();
/** True when there is something on the host that only --down removes. */
let begun = false;

async function up(places: Places): Promise<void> {
  const { settings, madeFile, daemon } = places;
  if (existsSync(madeFile)) throw new Error(`Berth is up already, or was on its way; remove it with: ${downCommand}`);
  const state = join(settings.dataDir, 'v1');
  if (existsSync(state)) throw new Error(`${state} exists: this host runs Berth without this script; leave it alone`);
  await step('the program: bundled into dist/', async () => makeBundle(folder));
  const commands = await step('berth and crictl: commands for this host', () =>
    missingCommands(main, settings.socket, (line) => console.log(`${' '.repeat(12)}${line}`)),
  );
  await step('network configuration', () => prepareHost(places, commands));
  const client = await step('berth serve: started and serving', () => daemon.start());
  try {
    await step(`image ${demoName}: made of the host's busybox and loaded`, () => loadDemo(settings.runDir));
    const ip = await runDemo(client);
    const page = await step(`page of http://${ip}/ fetched`, () => fetchPage(ip));
    console.log(`\n${page.trim()}\n`);
  } finally {
    client.close();
  }
  console.log(`Berth is up after ${((performance.now() - began) / 1000).toFixed(1)} s. Its log: ${logFile}`);
  console.log('Go on with: sudo crictl ps; sudo berth --help; the tour in README.md');
  console.log(`Remove all of it: sudo ${downCommand}`);
}

/** A bridge for pods if the host has no network configuration; remembers how all was before. */
async function prepareHost({ settings, conflist, madeFile }: Places, commands: Commands): Promise<void> {
  const has = namesIn(settings.cni.confDir).some((name) => /\.(conf|conflist|json)$/.test(name));
  if (!has && (await hasLink(bridge)))
    throw new Error(`Link ${bridge} exists: remove it, or configure a network of your own in ${settings.cni.confDir}`);
  const made: Made = {
    ...lookAround(settings, network, [...(has ? [] : [conflist]), ...Object.keys(commands)]),
    conflist: !has,
    cgroup: cgroupFolders(settings.cgroupParent).some((path) => existsSync(path)),
    netnsMount: existsSync(settings.cni.netnsDir) && isMountPoint(settings.cni.netnsDir),
    sysctls: sysctlsBefore(),
    portmapChains: await hasPortmapChains(),
  };
  mkdirSync(settings.dataDir, { recursive: true, mode: 0o700 });
  writeFileSync(`${madeFile}.tmp`, JSON.stringify(made));
  renameSync(`${madeFile}.tmp`, madeFile);
  begun = true;
  putCommands(commands);
  if (has) return;
  mkdirSync(settings.cni.confDir, { recursive: true });
  const ipam = { type: 'host-local', ranges: [[{ subnet }]], routes: [{ dst: '0.0.0.0/0' }] };
  const plugins = [
    { type: 'bridge', bridge, isGateway: true, ipMasq: true, hairpinMode: true, ipam },
    { type: 'portmap', capabilities: { portMappings: true }, snat: true },
  ];
  writeFileSync(conflist, `${JSON.stringify({ cniVersion: '1.0.0', name: network, plugins }, null, 2)}\n`);
}

async function loadDemo(runDir: string): Promise<void> {
  const file = join(runDir, 'demo-image.tar');
  writeFileSync(file, await demoImage(readFileSync('/bin/busybox')));
  try {
    const argv = [process.execPath, main, 'load', ...configOptions, file];
    const { code, stderr } = await runHere({ argv, env: ['PATH=/usr/bin:/bin'], cwd: '/', deadlineMs: 60_000 });
    if (code !== 0) throw new Error(`berth load failed: ${stderr}`);
  } finally {
    rmSync(file);
  }
}

async function down(places: Places): Promise<void> {
  const { settings, madeFile, daemon } = places;
  if (!existsSync(madeFile)) return console.log('Berth is not up: there is nothing to remove.');
  const made: Made = JSON.parse(readFileSync(madeFile, 'utf8'));
  // Without a pod there is nothing that only the daemon can remove; it may be its start that failed.
  const pods = namesIn(join(settings.dataDir, 'v1/pods')).length > 0;
  if (pods && !daemon.pid()) await step('berth serve: started again to remove its pods', () => startAgain(daemon));
  if (daemon.pid()) {
    await step('every pod removed', () => removePods(daemon));
    await step('berth serve: ended', () => daemon.end());
  }
  await step('files, bridge, cgroup and rules removed', () => clean(places, made));
}

async function startAgain(daemon: Daemon): Promise<void> {
  if (!existsSync(main)) makeBundle(folder);
  (await daemon.start()).close();
}

async function removePods(daemon: Daemon): Promise<void> {
  const client = await daemon.client();
  try {
    const { items } = await client.listPodSandbox({});
    await Promise.all(items.map(({ id }) => client.removePodSandbox({ podSandboxId: id })));
  } finally {
    client.close();
  }
}

async function clean({ settings, conflist, madeFile }: Places, made: Made): Promise<void> {
  if (made.conflist) {
    rmSync(conflist, { force: true });
    await removeLink(bridge);
    await removeMasquerade(network);
    if (!made.portmapChains) await removePortmapChains();
    sysctlsRestore(made.sysctls);
  }
  if (!made.cgroup) await removeCgroup(settings.cgroupParent);
  if (!made.netnsMount) unmountNetns(settings.cni.netnsDir);
  removeTraces(made, madeFile);
}

/** What gRPC says of an error is how it was carried; the daemon's own words are its details. */
const reasonOf = (error: unknown): string =>
  error instanceof Error && 'details' in error ? String(error.details) : messageOf(error);

function giveUp(reason: string): never {
  const rest = begun ? `\nThen remove what there is: sudo ${downCommand}` : '';
  console.error(`scripts/up: ${reason}${rest}`);
  return endProcess(1);
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.once(signal, () => giveUp(values.down ? `ended by ${signal}: run it again` : `ended by ${signal}`));
}
try {
  const places = placesHere();
  await (values.down ? down(places) : up(places));
} catch (error) {
  giveUp(reasonOf(error));
}
endProcess(0); // kept-alive HTTP connections must not hold it up
