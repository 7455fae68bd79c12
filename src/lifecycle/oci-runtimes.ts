import { existsSync } from 'node:fs';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { errorText } from '../base/command.ts';
import { Fault, isErrno } from '../base/fault.ts';
import type { HandlerSettings, Settings } from '../base/settings.ts';
import { type HandlerFeatures, probeFeatures } from './handler-features.ts';

/** Environment of OCI runtimes: their helpers (newuidmap, criu) are looked up in PATH. */
export const ociRuntimeEnv = ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'];

/** How long a program that gave no answer counts as one without features. */
const askAgainMs = 60_000;

/** One handler: a program with runc's command line, its state directory and its global options. */
export class OciRuntime {
  readonly name: string;
  readonly settings: HandlerSettings;
  readonly root: string;
  readonly #global: readonly string[];
  #features: Promise<HandlerFeatures> | null = null;

  constructor(name: string, settings: HandlerSettings, root: string, systemdCgroup: boolean) {
    this.name = name;
    this.settings = settings;
    this.root = root;
    this.#global = [...settings.args, '--root', root, ...(systemdCgroup ? ['--systemd-cgroup'] : [])];
  }

  get path(): string {
    return this.settings.path;
  }

  /** What the program says that it can do. It is asked once; one that could not answer is asked again later. */
  features(): Promise<HandlerFeatures> {
    this.#features ??= this.#probe();
    return this.#features;
  }

  async #probe(): Promise<HandlerFeatures> {
    const features = await probeFeatures(this.path);
    const forget = () => {
      this.#features = null;
    };
    if (features.version === '') setTimeout(forget, askAgainMs).unref();
    return features;
  }

  /** Creates and starts the container in one process; it says what went wrong in `logFile`. */
  run(id: string, bundle: string, pidFile: string, logFile: string, tty: boolean): string[] {
    const console = tty ? ['--console-socket', '{console}'] : [];
    const options = ['--detach', '--bundle', bundle, '--pid-file', pidFile, ...console];
    return [this.path, ...this.#global, '--log', logFile, '--log-format', 'json', 'run', ...options, id];
  }

  /** `processFile` holds the whole OCI process: command-line options cover only a part of it, each runtime another. */
  exec(id: string, pidFile: string, processFile: string, tty = false): string[] {
    const console = tty ? ['--console-socket', '{console}'] : [];
    const options = ['--detach', '--pid-file', pidFile, '--process', processFile, ...console];
    return [this.path, ...this.#global, 'exec', ...options, id];
  }

  /** `file` holds an OCI LinuxResources. */
  update(id: string, file: string): string[] {
    return [this.path, ...this.#global, 'update', '--resources', file, id];
  }

  /** Without `force` only what has no process any more; with it, runc 1.5 sleeps 100 ms whatever the state is. */
  delete(id: string, { force = false } = {}): string[] {
    return [this.path, ...this.#global, 'delete', ...(force ? ['--force'] : []), id];
  }

  /** True while the OCI runtime keeps state of the container: crun and runc have one directory each. */
  knows(id: string): boolean {
    return existsSync(join(this.root, id));
  }
}

/** The handlers of the configuration by RuntimeClass handler name; the empty name is the default one. */
export class OciRuntimes {
  readonly #byName: ReadonlyMap<string, OciRuntime>;
  readonly #default: string;

  private constructor(byName: ReadonlyMap<string, OciRuntime>, defaultName: string) {
    this.#byName = byName;
    this.#default = defaultName;
  }

  static async open(settings: Settings): Promise<OciRuntimes> {
    const systemd = settings.cgroupDriver === 'systemd';
    const byName = new Map<string, OciRuntime>();
    for (const [name, handler] of Object.entries(settings.handlers)) {
      const root = join(settings.runDir, 'oci', name);
      await mkdir(root, { recursive: true, mode: 0o700 });
      byName.set(name, new OciRuntime(name, handler, root, systemd));
    }
    return new OciRuntimes(byName, settings.defaultHandler);
  }

  all(): OciRuntime[] {
    return [...this.#byName.values()];
  }

  get defaultName(): string {
    return this.#default;
  }

  /** @throws Fault InvalidArgument for a handler that is not configured. */
  get(handler: string): OciRuntime {
    const found = this.#byName.get(handler === '' ? this.#default : handler);
    if (found) return found;
    const known = [...this.#byName.keys()].join(', ');
    throw new Fault(
      'InvalidArgument',
      `Runtime handler ${JSON.stringify(handler)} is not configured; there are ${known}`,
    );
  }

  /** Why handlers cannot run anything, or null. */
  problem(): string | null {
    const path = this.get('').path;
    return existsSync(path) ? null : `OCI runtime ${path} of the default handler ${this.#default} does not exist`;
  }
}

/** What an OCI runtime wrote in its JSON log before it failed, else what it printed. */
export async function failureText(logFile: string, printed: Buffer): Promise<string> {
  try {
    const lines = (await readFile(logFile, 'utf8')).trim().split('\n').slice(-8);
    const errors = lines.map(messageOfLine).filter((text) => text !== '');
    if (errors.length > 0) return errorText(errors.join('; '));
  } catch (error) {
    if (!isErrno(error, 'ENOENT')) throw error;
  }
  return errorText(printed);
}

function messageOfLine(line: string): string {
  try {
    const { level, msg } = JSON.parse(line);
    return level === 'error' || level === 'fatal' || level === undefined ? String(msg ?? '') : '';
  } catch {
    return line;
  }
}
