import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { Fault, messageOf } from '../../base/fault.ts';
import type { HostFiles, OpenHostFiles } from '../../base/host-files.ts';
import type { Settings } from '../../base/settings.ts';
import type { Handler } from '../../model/handler.ts';
import type { Layout } from '../../state/layout.ts';
import { type HandlerFeatures, noFeatures, notAsked, probeFeatures } from './handler-features.ts';
import { warnOfEscapes } from './known-escapes.ts';

/** How long a program that gave no answer counts as one without features. */
const askAgainMs = 60_000;
/** How long the first answer of a program is waited for by who would rather go on without. */
const firstAnswerMs = 1000;

/** Those that make and begin a container by one command, also with a suffix: `crun-wasm`, `runc-1.3`. */
const runsAtOnce = /^(crun|runc)([.-]|$)/;

const isAbsent = 'does not exist';

/** A handler's program, with runc's command line. */
export class OciRuntime {
  readonly handler: Handler;
  /** As the setting has it: what runs containers is no matter of their records. */
  readonly create: string;
  /**
   * Containers are made by `create`, and begin by `start`: what stands around an OCI runtime looks for that word, and does
   * nothing at a `run`.
   */
  readonly createsFirst: boolean;
  /** What looks at its program. */
  readonly files: HostFiles;
  readonly #global: readonly string[];
  #features: Promise<HandlerFeatures> | null = null;
  #askedAt = 0;
  #answer: HandlerFeatures | null = null;

  /** `files`: of its own, as its program may be anywhere; `create`: as the setting has it. */
  constructor(handler: Handler, files: HostFiles, create = 'auto') {
    this.handler = handler;
    this.create = create;
    this.files = files;
    this.createsFirst = create === 'always' || !runsAtOnce.test(basename(handler.path));
    const { args, root, systemdCgroup } = handler;
    this.#global = [...args, '--root', root, ...(systemdCgroup ? ['--systemd-cgroup'] : [])];
  }

  get name(): string {
    return this.handler.name;
  }

  get path(): string {
    return this.handler.path;
  }

  /** What is wrong with where its program should be, or null. */
  async missing(): Promise<string | null> {
    try {
      return (await this.files.stat(this.path)) === null ? isAbsent : null;
    } catch (error) {
      return `cannot be looked at: ${messageOf(error)}`;
    }
  }

  /** What the program says that it can do. It is asked once; one that could not answer is asked again later. */
  features(): Promise<HandlerFeatures> {
    this.#features ??= this.#probe();
    return this.#features;
  }

  /** The same by its last answer, for who asks about all handlers: one that hangs must not keep the others' from it. */
  async featuresByNow(): Promise<HandlerFeatures> {
    const asked = this.features();
    if (this.#answer) return this.#answer;
    const left = Math.max(this.#askedAt + firstAnswerMs - performance.now(), 0);
    return Promise.race([asked, delay(left, noFeatures, { ref: false })]);
  }

  async #probe(): Promise<HandlerFeatures> {
    this.#askedAt = performance.now();
    // Who executes what is on a dead file server waits for ever, without a turn of the event loop.
    const missing = await this.missing();
    const features =
      missing === null ? await probeFeatures(this.path, this.handler.root) : notAsked(this.path, missing);
    this.#answer = features;
    warnOfEscapes(this.path, features.version);
    const forget = () => {
      this.#features = null;
    };
    if (features.version === '') setTimeout(forget, askAgainMs).unref();
    return features;
  }

  /** Makes the container's process, and starts it unless it `createsFirst`; it says what went wrong in `logFile`. */
  make(id: string, bundle: string, pidFile: string, logFile: string, tty: boolean): string[] {
    const command = this.createsFirst ? ['create'] : ['run', '--detach'];
    const console = tty ? ['--console-socket', '{console}'] : [];
    const options = ['--bundle', bundle, '--pid-file', pidFile, ...console];
    return [this.path, ...this.#global, ...logTo(logFile), ...command, ...options, id];
  }

  /** Starts what `create` has made. */
  start(id: string, logFile: string): string[] {
    return [this.path, ...this.#global, ...logTo(logFile), 'start', id];
  }

  /** Prints the state of a container, as JSON (OCI runtime-spec, runtime.md). */
  state(id: string): string[] {
    return [this.path, ...this.#global, 'state', id];
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
    return existsSync(this.stateOf(id));
  }

  /** The directory of that state. */
  stateOf(id: string): string {
    return join(this.handler.root, id);
  }
}

const logTo = (file: string): string[] => ['--log', file, '--log-format', 'json'];

/**
 * The handlers of the configuration by RuntimeClass handler name (the empty name is the default one), and those that pods
 * were made with.
 */
export class OciRuntimes {
  readonly #byName: ReadonlyMap<string, OciRuntime>;
  readonly #default: string;
  readonly #openFiles: OpenHostFiles;
  /** Looks at the default handler's program, one after the other. */
  #looksFailed = 0;
  /** Handlers of records that are not, or not so, in the configuration any more, by all that they are. */
  readonly #former = new Map<string, OciRuntime>();

  private constructor(byName: ReadonlyMap<string, OciRuntime>, defaultName: string, openFiles: OpenHostFiles) {
    this.#byName = byName;
    this.#default = defaultName;
    this.#openFiles = openFiles;
  }

  /** `openFiles`: opens what looks at one handler's program. */
  static async open(settings: Settings, layout: Layout, openFiles: OpenHostFiles): Promise<OciRuntimes> {
    const byName = new Map<string, OciRuntime>();
    for (const [name, { create, path, args, privilegedWithoutHostDevices, cniConfDir }] of Object.entries(
      settings.handlers,
    )) {
      const root = layout.ociStateOf(name);
      const systemdCgroup = settings.cgroupDriver === 'systemd';
      await mkdir(root, { recursive: true, mode: 0o700 });
      byName.set(
        name,
        new OciRuntime(
          { name, path, args, root, systemdCgroup, privilegedWithoutHostDevices, cniConfDir },
          openFiles(),
          create,
        ),
      );
    }
    return new OciRuntimes(byName, settings.defaultHandler, openFiles);
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

  /**
   * What runs and undoes the pod or container of this record: its own handler, not what has that name today. Should its
   * program have moved, the one that has its name now takes over its state.
   */
  async of({ resolvedHandler: handler }: { readonly resolvedHandler: Handler }): Promise<OciRuntime> {
    const current = this.#byName.get(handler.name);
    if (current && isDeepStrictEqual(current.handler, handler)) return current;
    const key = JSON.stringify(handler);
    const former = this.#former.get(key) ?? new OciRuntime(handler, this.#openFiles(), current?.create);
    this.#former.set(key, former);
    if (!current || (await former.missing()) === null) return former;
    return new OciRuntime({ ...handler, path: current.path }, current.files, current.create);
  }

  /** For a record that says no more than a name: the handler that has it, or what undoes a container without one. */
  formerly(name: string): Handler {
    const known = this.#byName.get(name === '' ? this.#default : name);
    if (known) return known.handler;
    const model = this.get('').handler;
    return { ...model, name, path: '', args: [], root: join(dirname(model.root), name) };
  }

  /** Why handlers cannot run anything, or null. */
  async problem(): Promise<string | null> {
    const runtime = this.get('');
    const missing = await runtime.missing();
    this.#looksFailed = missing === null || missing === isAbsent ? 0 : this.#looksFailed + 1;
    if (this.#looksFailed === 1) return null; // a host under load is ready all the same
    return missing === null ? null : `OCI runtime ${runtime.path} of the default handler ${this.#default} ${missing}`;
  }
}
