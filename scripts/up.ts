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
  readlinkSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { connect } from 'node:net';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import * as cri from '../src/api/runtime/v1/cri.ts';
import { messageOf } from '../src/base/fault.ts';
import { loadSettings } from '../src/base/settings.ts';
import { nodeEnvironment, nodeFlags } from '../src/commands/node-flags.ts';
import { connectTo, type Rpc } from '../src/commands/rpc.ts';
import { cgroupFolders, removeCgroup } from '../src/sys/cgroups.ts';
import { endProcess } from '../src/sys/end-process.ts';
import { runHere } from '../src/sys/spawn.ts';
import { makeBundle } from './bundle.ts';
import { demoImage, demoName } from './up-parts/demo-image.ts';
import {
  hasLink,
  hasPortmapChains,
  removeLink,
  removeMasquerade,
  removePortmapChains,
  sysctlsBefore,
  sysctlsRestore,
} from './up-parts/host-state.ts';
import { type Before, logFile, lookAround, namesIn, podLogs, removeTraces } from './up-parts/traces.ts';

const folder = resolve(import.meta.dirname, '../dist');
const main = join(folder, 'main.mjs');
const { values } = parseArgs({
  options: { config: { type: 'string' }, down: { type: 'boolean', default: false } },
});
const settings = loadSettings(values.config);
const bridge = 'berth0';
const network = 'berth-bridge';
const subnet = '10.88.0.0/16';
const conflist = join(settings.cni.confDir, '10-berth-bridge.conflist');
/** The usual configuration need not exist, one that was named must. */
const configOptions = values.config === undefined ? [] : ['--config', values.config];
const downCommand = ['scripts/up', ...configOptions, '--down'].join(' ');

/** What --down needs to know of how the host was before. In Berth's data directory, written first and removed last. */
type Made = Before & {
  conflist: boolean;
  cgroup: boolean;
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
  if (existsSync(madeFile)) throw new Error(`Berth is up already, or was on its way; remove it with: ${downCommand}`);
  const state = join(settings.dataDir, 'v1');
  if (existsSync(state)) throw new Error(`${state} exists: this host runs Berth without this script; leave it alone`);
  await step('the program: bundled into dist/', async () => makeBundle(folder));
  await step('network configuration', prepareHost);
  const client = await step('berth serve: started and serving', startDaemon);
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

/** A bridge for pods if the host has no network configuration; remembers how all was before. */
async function prepareHost(): Promise<void> {
  const has = namesIn(settings.cni.confDir).some((name) => /\.(conf|conflist|json)$/.test(name));
  if (!has && (await hasLink(bridge)))
    throw new Error(`Link ${bridge} exists: remove it, or configure a network of your own in ${settings.cni.confDir}`);
  const made: Made = {
    ...lookAround(settings, network, conflist),
    conflist: !has,
    cgroup: cgroupFolders(settings.cgroupParent).some((path) => existsSync(path)),
    sysctls: sysctlsBefore(),
    portmapChains: await hasPortmapChains(),
  };
  mkdirSync(settings.dataDir, { recursive: true, mode: 0o700 });
  writeFileSync(`${madeFile}.tmp`, JSON.stringify(made));
  renameSync(`${madeFile}.tmp`, madeFile);
  if (has) return;
  mkdirSync(settings.cni.confDir, { recursive: true });
  const ipam = { type: 'host-local', ranges: [[{ subnet }]], routes: [{ dst: '0.0.0.0/0' }] };
  const plugins = [
    { type: 'bridge', bridge, isGateway: true, ipMasq: true, hairpinMode: true, ipam },
    { type: 'portmap', capabilities: { portMappings: true }, snat: true },
  ];
  writeFileSync(conflist, `${JSON.stringify({ cniVersion: '1.0.0', name: network, plugins }, null, 2)}\n`);
}

const serveArguments = [main, 'serve', ...configOptions];

async function startDaemon(): Promise<Rpc<cri.RuntimeServiceClient>> {
  const log = openSync(logFile, 'a', 0o600);
  const child = spawn(process.execPath, [...nodeFlags, ...serveArguments], {
    env: { ...process.env, ...nodeEnvironment },
    detached: true,
    stdio: ['ignore', log, log],
    cwd: '/',
  });
  closeSync(log);
  const ended = once(child, 'exit').then(([code, signal]) => {
    throw new Error(`berth serve ended (${code ?? signal}): see ${logFile}; then remove what there is: ${downCommand}`);
  });
  ended.catch(() => {}); // after this function nobody waits for it
  const client = await Promise.race([untilServing(), ended]);
  child.unref();
  return client;
}

/** The socket may also be one that a daemon left which was killed: nobody answers there. */
async function untilServing(): Promise<Rpc<cri.RuntimeServiceClient>> {
  while (!(await answers())) await delay(10);
  const client = connectTo(cri.RuntimeServiceClient, cri, settings.socket);
  await client.version({});
  return client;
}

function answers(): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const probe = connect(settings.socket, () => resolve(true)).on('error', () => resolve(false));
  return promise.finally(() => probe.destroy());
}

async function loadDemo(): Promise<void> {
  const file = join(settings.runDir, 'demo-image.tar');
  writeFileSync(file, await demoImage(readFileSync('/bin/busybox')));
  try {
    const argv = [process.execPath, main, 'load', ...configOptions, file];
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
    logDirectory: podLogs,
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
  console.log(`\nRemove all of it: ${downCommand}`);
}

async function down(): Promise<void> {
  if (!existsSync(madeFile)) return console.log('Berth is not up: there is nothing to remove.');
  const made: Made = JSON.parse(readFileSync(madeFile, 'utf8'));
  // Without a pod there is nothing that only the daemon can remove; it may be its start that failed.
  const pods = namesIn(join(settings.dataDir, 'v1/pods')).length > 0;
  if (pods && !daemonPid()) await step('berth serve: started again to remove its pods', startAgain);
  if (daemonPid()) {
    await step('every pod removed', removePods);
    await step('berth serve: ended', endDaemon);
  }
  await step('files, bridge, cgroup and rules removed', () => clean(made));
}

async function startAgain(): Promise<void> {
  if (!existsSync(main)) makeBundle(folder);
  (await startDaemon()).close();
}

/** The daemon that up started, also if up was ended before it could write a pid down. */
function daemonPid(): number | undefined {
  const wanted = `\0${serveArguments.join('\0')}\0`;
  const here = readlinkSync('/proc/self/ns/mnt');
  return readdirSync('/proc')
    .map(Number)
    .find((pid) => {
      try {
        return (
          readFileSync(`/proc/${pid}/cmdline`, 'utf8').endsWith(wanted) && readlinkSync(`/proc/${pid}/ns/mnt`) === here
        );
      } catch {
        return false; // no process, or one that ended while we looked
      }
    });
}

async function removePods(): Promise<void> {
  const ended = (async () => {
    while (daemonPid()) await delay(100);
    throw new Error(`berth serve ended: see ${logFile}`);
  })();
  ended.catch(() => {});
  const client = await Promise.race([untilServing(), ended]);
  try {
    const { items } = await client.listPodSandbox({});
    await Promise.all(items.map(({ id }) => client.removePodSandbox({ podSandboxId: id })));
  } finally {
    client.close();
  }
}

async function endDaemon(): Promise<void> {
  const pid = daemonPid();
  if (pid) process.kill(pid, 'SIGTERM');
  for (let tries = 1000; daemonPid(); tries--) {
    if (tries === 0) throw new Error(`berth serve (pid ${pid}) does not end`);
    await delay(10);
  }
}

async function clean(made: Made): Promise<void> {
  if (made.conflist) {
    rmSync(conflist, { force: true });
    await removeLink(bridge);
    await removeMasquerade(network);
    if (!made.portmapChains) await removePortmapChains();
    sysctlsRestore(made.sysctls);
  }
  if (!made.cgroup) await removeCgroup(settings.cgroupParent);
  removeTraces(made, madeFile);
}

try {
  await (values.down ? down() : up());
} catch (error) {
  console.error(`scripts/up: ${messageOf(error)}`);
  endProcess(1);
}
endProcess(0); // kept-alive HTTP connections must not hold it up
