import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { stringify } from 'smol-toml';
import * as admin from '../../src/api/berth/v1/admin.ts';
import * as cri from '../../src/api/runtime/v1/cri.ts';
import { nodeEnvironment, nodeFlags } from '../../src/commands/node-flags.ts';
import { connectTo, type Rpc } from '../../src/commands/rpc.ts';
import { strayRejection } from '../../src/commands/serve.ts';
import { removeCgroup } from '../../src/sys/cgroups.ts';
import { stopUnit } from '../../src/sys/systemd.ts';
import { keepLine } from './failure-log.ts';
import { hostName } from './own-host.ts';

const main = resolve(import.meta.dirname, '../../src/main.ts');
/** A test that dies must not leave its daemon. */
const children = new Set<ChildProcess>();
process.once('exit', () => {
  for (const child of children) child.kill('SIGKILL');
});
/** The whole of the tests can run with the other driver, on a host with systemd. */
const cgroupDriver = process.env.BERTH_TEST_CGROUP_DRIVER ?? 'cgroupfs';
/** How much longer than usual a machine may take: test/vm emulates its processor. */
export const slowness = Number(process.env.BERTH_TEST_SLOWNESS ?? 1);
const callDeadlineMs = 120_000 * slowness;
let serial = 0;

export type DaemonOptions = {
  /** The default handler: `crun` or `runc`. */
  readonly handler?: string;
  /** Lays over the settings, in TOML's names. */
  readonly settings?: Record<string, unknown>;
  /** Folders with CNI plugins that come before the real ones. */
  readonly pluginDirs?: readonly string[];
  /** False: no conflist is written. */
  readonly network?: boolean;
  /** Of its pods' addresses. */
  readonly subnet?: string;
  readonly env?: Record<string, string>;
  /** Another program than this checkout's src/main.ts: the shipped bundle. */
  readonly main?: string;
  /** Others than those that the daemon is meant to run with. */
  readonly nodeFlags?: readonly string[];
};

/** Everything of one daemon under test: all its files, its bridge and its cgroups carry its name. */
export class TestDaemon {
  readonly name = `bt${hostName}x${serial++}`;
  readonly dir: string;
  readonly runDir: string;
  readonly socket: string;
  readonly options: DaemonOptions;
  /** Every line that the daemon logged, parsed. */
  readonly logged: Record<string, unknown>[] = [];
  runtime!: Rpc<cri.RuntimeServiceClient>;
  images!: Rpc<cri.ImageServiceClient>;
  admin!: Rpc<admin.AdminClient>;
  #child: ChildProcess | null = null;

  constructor(options: DaemonOptions) {
    this.options = options;
    this.dir = mkdtempSync(join(tmpdir(), 'berth-test-'));
    this.runDir = `/run/${this.name}`;
    this.socket = join(this.runDir, 'berth.sock');
    for (const made of [this.cniDir, join(this.dir, 'cni/cache/results'), join(this.ipamDir, this.name), this.logDir]) {
      mkdirSync(made, { recursive: true });
    }
    writeFileSync(this.configFile, this.#settings());
    if (options.network !== false) this.writeConflist();
  }

  get configFile(): string {
    return join(this.dir, 'config.toml');
  }

  get cniDir(): string {
    return join(this.dir, 'cni/net.d');
  }

  get dataDir(): string {
    return join(this.dir, 'data');
  }

  get ipamDir(): string {
    return join(this.dir, 'ipam');
  }

  get logDir(): string {
    return join(this.dir, 'logs');
  }

  get bridge(): string {
    return this.name.slice(0, 15);
  }

  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  /** Its pods' addresses: each test file has a network of its own. */
  get subnet(): string {
    return this.options.subnet ?? '10.100.0.0/24';
  }

  writeConflist(plugins: object[] = this.plugins()): void {
    const list = { cniVersion: '1.0.0', name: this.name, plugins };
    writeFileSync(join(this.cniDir, '10-test.conflist'), JSON.stringify(list));
  }

  plugins(): object[] {
    const ipam = {
      type: 'host-local',
      dataDir: this.ipamDir,
      ranges: [[{ subnet: this.subnet }]],
      routes: [{ dst: '0.0.0.0/0' }],
    };
    return [
      { type: 'bridge', bridge: this.bridge, isGateway: true, ipMasq: true, hairpinMode: true, ipam },
      { type: 'portmap', capabilities: { portMappings: true }, snat: true },
    ];
  }

  #settings(): string {
    const { handler = 'crun', settings = {}, pluginDirs = [] } = this.options;
    return stringify({
      socket: this.socket,
      data_dir: this.dataDir,
      run_dir: this.runDir,
      cgroup_parent: `/${this.name}`,
      cgroup_driver: cgroupDriver,
      default_handler: handler,
      cni: { conf_dir: this.cniDir, bin_dirs: [...pluginDirs, '/usr/lib/cni'], cache_dir: join(this.dir, 'cni/cache') },
      images: { certs_dir: join(this.dir, 'certs.d') },
      ...settings,
    });
  }

  /** What Node is called with. */
  serveArguments(configFile = this.configFile): string[] {
    const flags = this.options.nodeFlags ?? nodeFlags;
    return [...flags, this.options.main ?? main, 'serve', '--config', configFile];
  }

  /** Starts the daemon and returns when it serves and all is mended; or, without `mended`, as soon as it serves. */
  async start(env: Record<string, string> = {}, options = { mended: true }): Promise<void> {
    const child = spawn(process.execPath, this.serveArguments(), {
      stdio: ['ignore', 'inherit', 'pipe'],
      env: { ...process.env, ...nodeEnvironment, ...this.options.env, ...env },
    });
    this.#child = child;
    children.add(child);
    child.once('exit', () => children.delete(child));
    const serving = Promise.withResolvers<void>();
    child.once('exit', (code, signal) => serving.reject(new Error(`berth ended before it served: ${code ?? signal}`)));
    createInterface({ input: child.stderr! }).on('line', (line) => {
      const entry = parseLine(line);
      this.logged.push(entry);
      keepLine(line);
      if (process.env.BERTH_TEST_LOG) process.stderr.write(`${line}\n`);
      if (entry.msg === (options.mended ? 'All is mended' : 'Berth is serving')) serving.resolve();
    });
    try {
      await serving.promise;
    } catch (error) {
      throw new Error(
        `${error}\n${this.logged
          .slice(-5)
          .map((entry) => JSON.stringify(entry))
          .join('\n')}`,
      );
    }
    this.#connect();
  }

  #connect(): void {
    this.#close();
    this.runtime = connectTo(cri.RuntimeServiceClient, cri, this.socket, callDeadlineMs);
    this.images = connectTo(cri.ImageServiceClient, cri, this.socket, callDeadlineMs);
    this.admin = connectTo(admin.AdminClient, admin, this.socket, callDeadlineMs);
  }

  #close(): void {
    for (const rpc of [this.runtime, this.images, this.admin]) rpc?.close();
  }

  /** SIGKILL, as a crash; returns when the process is gone. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL');
  }

  /** SIGTERM, as systemd does. */
  async stop(): Promise<void> {
    await this.#end('SIGTERM');
  }

  /** Returns when the daemon ended by itself. */
  async ended(): Promise<void> {
    const child = this.#child;
    if (child && child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    this.#child = null;
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    this.#close();
    this.#child?.kill(signal);
    await this.ended();
  }

  async removePods(): Promise<void> {
    const { items } = await this.runtime.listPodSandbox({});
    await Promise.all(items.map(({ id }) => this.runtime.removePodSandbox({ podSandboxId: id })));
  }

  /** Removes every pod, ends the daemon and removes its directories and its bridge. */
  async dispose(): Promise<void> {
    try {
      if (!this.#child) await this.start();
      await this.removePods();
    } finally {
      await this.stop();
    }
    assert.deepEqual(
      this.logged.filter(({ msg }) => msg === strayRejection),
      [],
    );
    await removeBridge(this.bridge);
    if (cgroupDriver === 'systemd') await stopUnit(`${this.name}.slice`);
    await removeCgroup(`/${this.name}`);
    rmSync(this.runDir, { recursive: true, force: true });
    rmSync(this.dir, { recursive: true, force: true });
  }
}

function parseLine(line: string): Record<string, unknown> {
  try {
    return JSON.parse(line);
  } catch {
    return { text: line };
  }
}

async function removeBridge(name: string): Promise<void> {
  const child = spawn('/usr/sbin/ip', ['link', 'delete', name], { stdio: 'ignore' });
  await once(child, 'exit');
}
