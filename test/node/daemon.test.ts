// The daemon as a process: one for its directories, an end for each failed start, and what signals do to it.
import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { PodSandboxState } from '../../src/api/runtime/v1/cri.ts';
import { nodeFlags } from '../../src/commands/node-flags.ts';
import { lockHolder } from '../../src/sys/directory-lock.ts';
import { mountOverlay, unmount } from '../../src/sys/mounts.ts';
import { slowness, TestDaemon } from '../harness/daemon.ts';
import { ownHost } from '../harness/own-host.ts';
import { TestPod, until } from '../harness/pods.ts';

await ownHost();

/** The configuration of `daemon` with some of its values replaced, in a file of its own. */
function changedConfig(daemon: TestDaemon, values: Readonly<Record<string, string>>): string {
  let text = readFileSync(daemon.configFile, 'utf8');
  for (const [from, to] of Object.entries(values)) text = text.replaceAll(from, to);
  const path = join(daemon.dir, 'changed.toml');
  writeFileSync(path, text);
  return path;
}

/** Runs `berth serve`, which must end by itself at once; resolves to its exit code and what it said. */
async function failedStart(daemon: TestDaemon, configFile: string): Promise<{ code: number; said: string }> {
  const options = { timeout: 5000 * slowness, killSignal: 'SIGKILL' } as const;
  return new Promise((resolve) => {
    execFile(process.execPath, daemon.serveArguments(configFile), options, (error, _, stderr) => {
      const code = typeof error?.code === 'number' ? error.code : -1; // -1: it ended well, or had to be killed
      resolve({ code, said: stderr });
    });
  });
}

describe('a second daemon', () => {
  let daemon: TestDaemon;
  let pod: TestPod;
  before(async () => {
    daemon = new TestDaemon({});
    await daemon.start();
    pod = await TestPod.run(daemon, 'first');
  });
  after(() => daemon.dispose());

  const elsewhere = { data: () => join(daemon.dir, 'other-data'), run: () => `${daemon.runDir}b` };
  const cases: { name: string; values: () => Record<string, string>; directory: () => string; setting: string }[] = [
    { name: 'with the same configuration', values: () => ({}), directory: () => daemon.dataDir, setting: 'data_dir' },
    {
      name: 'with a socket of its own',
      values: () => ({ [daemon.socket]: `${daemon.socket}2` }),
      directory: () => daemon.dataDir,
      setting: 'data_dir',
    },
    {
      name: 'with only the same data_dir',
      values: () => ({ [daemon.runDir]: elsewhere.run() }),
      directory: () => daemon.dataDir,
      setting: 'data_dir',
    },
    {
      name: 'with only the same run_dir',
      values: () => ({ [daemon.dataDir]: elsewhere.data() }),
      directory: () => daemon.runDir,
      setting: 'run_dir',
    },
    {
      name: 'by a symbolic link to the data_dir',
      values: () => ({ [daemon.dataDir]: join(daemon.dir, 'link') }),
      directory: () => join(daemon.dir, 'link'),
      setting: 'data_dir',
    },
  ];
  for (const { name, values, directory, setting } of cases) {
    test(`${name} ends at once, says who is there, and has touched nothing`, async () => {
      symlinkSync(daemon.dataDir, join(daemon.dir, 'link'));
      const pods = join(daemon.dataDir, 'v1/pods');
      const beside = ['.half.json.1.0.tmp', 'garbage.json'];
      for (const file of beside) writeFileSync(join(pods, file), '{');
      for (const path of [daemon.dataDir, daemon.runDir]) chmodSync(path, 0o700);
      try {
        const { code, said } = await failedStart(daemon, changedConfig(daemon, values()));
        assert.equal(code, 1, said);
        const line = `${directory()} is in use by process ${daemon.pid}, a Berth daemon that runs already: stop it, or set another ${setting}`;
        assert.ok(said.includes(line), said);
        for (const path of [daemon.dataDir, daemon.runDir]) assert.equal(statSync(path).mode & 0o777, 0o700);
        for (const file of beside) assert.equal(readFileSync(join(pods, file), 'utf8'), '{');
        assert.equal((await pod.status()).state, PodSandboxState.SANDBOX_READY);
      } finally {
        for (const file of beside) rmSync(join(pods, file), { force: true });
        for (const path of [daemon.dataDir, daemon.runDir]) chmodSync(path, 0o711);
        rmSync(join(daemon.dir, 'link'));
        rmSync(elsewhere.run(), { recursive: true, force: true });
      }
    });
  }

  test('may start the moment the first was killed, and when one directory is both', async () => {
    await daemon.kill();
    await daemon.start();
    assert.equal((await pod.status()).state, PodSandboxState.SANDBOX_READY);
    const both = new TestDaemon({});
    writeFileSync(both.configFile, readFileSync(both.configFile, 'utf8').replaceAll(both.dataDir, both.runDir));
    await both.start();
    await both.dispose();
  });
});

describe('a start that fails ends the process, whatever it has open by then', () => {
  let daemon: TestDaemon;
  let pod: TestPod;
  let shim = 0;
  before(async () => {
    daemon = new TestDaemon({});
    await daemon.start();
    pod = await TestPod.run(daemon, 'kept'); // its shim's connection holds the event loop of each start
    const { info } = await daemon.runtime.podSandboxStatus({ podSandboxId: pod.id, verbose: true });
    const pause = readFileSync(`/proc/${JSON.parse(info.info!).pid}/status`, 'utf8');
    shim = Number(/^PPid:\s+(\d+)$/m.exec(pause)?.[1]);
    await daemon.kill();
  });
  after(() => daemon.dispose());

  const fails = async (values: Record<string, string>, message: RegExp) => {
    const { code, said } = await failedStart(daemon, changedConfig(daemon, values));
    assert.equal(code, 1, said);
    assert.match(said, message);
  };

  test('a socket that another program serves', async () => {
    const server = createServer().listen(`${daemon.socket}2`);
    await once(server, 'listening');
    try {
      await fails({ [daemon.socket]: `${daemon.socket}2` }, /Another daemon serves .*berth\.sock2: stop it or set/);
    } finally {
      server.close();
    }
  });

  test('a socket path with something else at it, which stays', async () => {
    const file = join(daemon.dir, 'precious');
    writeFileSync(file, 'mine');
    await fails({ [daemon.socket]: file }, /precious exists and is no socket: remove it or set another socket/);
    assert.equal(readFileSync(file, 'utf8'), 'mine');
    mkdirSync(join(daemon.dir, 'folder'));
    await fails({ [daemon.socket]: join(daemon.dir, 'folder') }, /folder exists and is no socket/);
  });

  test('a data_dir without the records of the pods that run, a run_dir without their shims', async () => {
    const says = (was: string) => new RegExp(`has nothing of 1 pods of this node: it was ${was}, and a start`);
    await fails({ [daemon.dataDir]: join(daemon.dir, 'other-data') }, says(daemon.dataDir));
    const other = `${daemon.runDir}b`;
    await fails({ [`"${daemon.runDir}"`]: `"${other}"` }, says(daemon.runDir));
    rmSync(other, { recursive: true });
  });

  test('directories and a socket that cannot be made, by the names of their settings', async () => {
    const at = join(daemon.dir, 'read-only');
    mkdirSync(at);
    execFileSync('/bin/mount', ['-t', 'tmpfs', '-o', 'ro', 'tmpfs', at]);
    try {
      const readOnly = 'the file system that it would be on is read-only\\. Mend that, or set another one';
      await fails(
        { [daemon.dataDir]: `${at}/a/b` },
        new RegExp(`^berth: data_dir: the directory ${at}/a/b .*: ${readOnly}`),
      );
      await fails(
        { [daemon.socket]: `${at}/a/s` },
        new RegExp(`^berth: socket: the directory ${at}/a .*: ${readOnly}`),
      );
      await fails({ [daemon.socket]: `${at}/s` }, new RegExp(`^berth: socket: listen EROFS: .* ${at}/s\\. Mend that`));
    } finally {
      unmount(at, { detach: true });
    }
    writeFileSync(join(daemon.dir, 'a-file'), '');
    const other = join(daemon.dir, 'a-file');
    await fails({ [daemon.dataDir]: other }, /^berth: data_dir: .* cannot be made: what is there is no directory/);
    await fails({ [daemon.dataDir]: `${other}/b` }, /^berth: data_dir: .* what is above it is no directory/);
  });

  test('a socket path that no socket can have', async () => {
    await fails({ [daemon.socket]: join(daemon.dir, 'x'.repeat(120)) }, /changed\.toml: socket = .* the 107 bytes/);
  });

  test('a streaming port that is taken', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    try {
      const streaming = `streaming = { address = "127.0.0.1:${port}" }\ndefault_handler`;
      const says = `Cannot listen at 127\\.0\\.0\\.1:${port} \\(.*EADDRINUSE.*\\): set streaming\\.address to`;
      await fails({ default_handler: streaming }, new RegExp(says));
    } finally {
      server.close();
    }
  });

  test('a cgroup driver that this host has not', { skip: systemdRuns() && 'this host has it' }, () =>
    fails({ '"cgroupfs"': '"systemd"' }, /systemd/),
  );

  test('SIGTERM while it waits for a shim that says nothing: an orderly end', async () => {
    process.kill(shim, 'SIGSTOP');
    const child = execFile(process.execPath, daemon.serveArguments());
    try {
      await until('its lock', async () => {
        const { dev, ino } = statSync(daemon.dataDir);
        return lockHolder(readFileSync('/proc/locks', 'utf8'), dev, ino) === child.pid;
      });
      child.kill('SIGHUP');
      child.kill('SIGTERM');
      assert.deepEqual(await once(child, 'exit'), [0, null]);
    } finally {
      child.kill('SIGKILL');
      process.kill(shim, 'SIGCONT');
    }
  });

  test('the pod is as it was', async () => {
    await daemon.start();
    assert.equal((await pod.status()).state, PodSandboxState.SANDBOX_READY);
  });
});

function systemdRuns(): boolean {
  return statSync('/run/systemd/private', { throwIfNoEntry: false }) !== undefined;
}

const survived = ['SIGHUP', 'SIGUSR1', 'SIGUSR2', 'SIGALRM', 'SIGTTIN', 'SIGTTOU', 'SIGPIPE', 'SIGWINCH'] as const;

for (const [name, flags] of [
  ['as it is meant to be started', nodeFlags],
  ["without Node's options", []],
] as const) {
  describe(`signals to a daemon ${name}`, () => {
    test('none but SIGTERM, SIGINT and SIGQUIT ends it, and none opens a port', async () => {
      const daemon = new TestDaemon({ nodeFlags: flags });
      await daemon.start();
      try {
        const ports = listening(daemon.pid);
        assert.equal(ports.length, 1, 'the streaming server'); // or the comparison below could not fail
        for (const signal of survived) {
          process.kill(daemon.pid, signal);
          assert.equal((await daemon.runtime.version({})).runtimeName, 'berth', signal);
        }
        // Node's option blocks SIGUSR1, so that it stays pending; the kernel and Node drop the last two.
        for (const signal of survived.slice(0, -2)) {
          if (signal === 'SIGUSR1' && flags.length > 0) continue;
          await until(signal, async () => daemon.logged.some((line) => line.signal === signal));
        }
        assert.equal((await daemon.runtime.version({})).runtimeName, 'berth');
        assert.deepEqual(listening(daemon.pid), ports);
      } finally {
        await daemon.dispose();
      }
    });
  });
}

test('what a daemon keeps to itself: its socket, the files that it makes, its descriptors', async () => {
  const closeOnExec = 0o2000000; // O_CLOEXEC, as proc_pid_fdinfo(5) shows it
  const daemon = new TestDaemon({});
  await daemon.start();
  try {
    const { mode, uid } = statSync(daemon.socket);
    assert.deepEqual([mode & 0o7777, uid], [0o660, 0]);
    assert.match(readFileSync(`/proc/${daemon.pid}/status`, 'utf8'), /^Umask:\t0077$/m);
    const passedOn = readdirSync(`/proc/${daemon.pid}/fdinfo`).filter((fd) => {
      if (target(`/proc/${daemon.pid}/fd/${fd}`) === target(`/proc/self/fd/${fd}`)) return false; // it came from this process
      const flags = flagsOf(daemon.pid, fd);
      return flags !== undefined && (Number.parseInt(flags, 8) & closeOnExec) === 0;
    });
    assert.deepEqual(passedOn, []);
  } finally {
    await daemon.dispose();
  }
});

/** The flags of an open descriptor in octal; undefined of one that was closed since it was listed, as a connection may be. */
function flagsOf(pid: number, fd: string): string | undefined {
  try {
    return /^flags:\t(\d+)$/m.exec(readFileSync(`/proc/${pid}/fdinfo/${fd}`, 'utf8'))?.[1] ?? '0';
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** The TCP sockets on which a process listens, as its network namespace names them. */
function listening(pid: number): string[] {
  const sockets = new Set(
    readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
      const [, inode] = /^socket:\[(\d+)\]$/.exec(target(`/proc/${pid}/fd/${fd}`)) ?? [];
      return inode ? [inode] : [];
    }),
  );
  const rows = ['tcp', 'tcp6'].flatMap((file) => readFileSync(`/proc/${pid}/net/${file}`, 'utf8').trim().split('\n'));
  return rows.flatMap((row) => {
    const [, address = '', , state, , , , , , inode = ''] = row.trim().split(/\s+/);
    return state === '0A' && sockets.has(inode) ? [address] : [];
  });
}

function target(link: string): string {
  try {
    return readlinkSync(link);
  } catch {
    return ''; // closed while we looked
  }
}

test('a data_dir whose file system cannot carry overlays is refused at the start', async () => {
  const daemon = new TestDaemon({});
  const [lower, upper, work] = ['lower', 'upper', 'work'].map((name) => join(daemon.dir, name)) as [
    string,
    string,
    string,
  ];
  for (const path of [lower, upper, work, daemon.dataDir]) mkdirSync(path);
  mountOverlay({ lowers: [lower], upper, work, target: daemon.dataDir });
  try {
    const { code, said } = await failedStart(daemon, daemon.configFile);
    assert.equal(code, 1, said);
    assert.match(
      said,
      /^berth: The file system of \S+ \(overlay\) cannot carry overlayfs: .*\. Set data_dir to .*ext4/m,
    );
  } finally {
    unmount(daemon.dataDir);
    await daemon.dispose();
  }
});
