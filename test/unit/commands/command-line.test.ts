import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, describe, test } from 'node:test';
import { askDaemon } from '../../../src/commands/ask.ts';
import { readCommandLine, usageOf } from '../../../src/commands/command-line.ts';
import { commands } from '../../../src/commands/index.ts';

const main = resolve(import.meta.dirname, '../../../src/main.ts');
const folder = mkdtempSync(join(tmpdir(), 'berth-cli-'));
after(() => rmSync(folder, { recursive: true }));

describe('the command line', () => {
  const refused: [args: string, message: RegExp][] = [
    ['', /What shall it do\? berth --help lists the commands/],
    ['serv', /There is no command "serv": did you mean serve\? berth --help lists them/],
    ['kubernetes', /There is no command "kubernetes": berth --help lists them/],
    ['constructor', /There is no command "constructor"/],
    ['serve now', /berth serve does not take "now": see berth serve --help/],
    ['load', /berth load takes FILE too: see berth load --help/],
    ['load a b', /berth load does not take "b"/],
    ['save a', /berth save takes FILE too/],
    ['save', /berth save takes IMAGE and FILE too/],
    ['gc --svg x', /berth gc has no option --svg: see berth gc --help/],
    ['version --config x', /berth version has no option --config/],
    ['serve --version', /berth serve has no option --version: see berth serve --help/],
    ['serve --config=', /berth serve: --config FILE is empty, .*: see berth serve --help/],
    ['trace x --svg=', /berth trace: --svg FILE is empty/],
    ['doctor --registry=', /berth doctor: --registry HOST is empty/],
    ['pulls --wat', /Unknown option '--wat': see berth --help/],
    ['serve --config', /Option '--config <value>' argument missing: see berth --help/],
  ];
  for (const [args, message] of refused) {
    test(`"berth ${args}" is refused, with the way on`, () => {
      const words = args.split(' ').filter((word) => word !== '');
      assert.throws(() => readCommandLine(commands, words), message);
    });
  }

  for (const [name, { takes }] of Object.entries(commands)) {
    for (const [index, what] of takes.entries()) {
      test(`berth ${name} with an empty ${what} is refused, with the way on`, () => {
        for (const empty of ['', ' ']) {
          const words = takes.map((_, other) => (other === index ? empty : 'x'));
          const message = new RegExp(`berth ${name}: ${what} is empty, .*: see berth ${name} --help`);
          assert.throws(() => readCommandLine(commands, [name, ...words]), message);
        }
      });
    }
  }

  test('--version is the command of that name', () => {
    const asked = readCommandLine(commands, ['--version']);
    assert.ok('given' in asked);
    assert.deepEqual([asked.command, asked.given], [commands.version, { words: [], flags: {} }]);
  });

  test('a command gets its words and its options, wherever they stand', () => {
    const asked = readCommandLine(commands, ['--svg', 'x.svg', 'trace', 'pod', '--config', 'f']);
    assert.ok('given' in asked);
    assert.equal(asked.command, commands.trace);
    assert.deepEqual(asked.given.words, ['pod']);
    assert.deepEqual({ ...asked.given.flags }, { svg: 'x.svg', config: 'f' });
  });

  const helpOf = (...args: string[]): string => {
    const asked = readCommandLine(commands, args);
    return 'help' in asked ? asked.help : assert.fail('no help');
  };
  test('--help has every command in a line that fits', () => {
    assert.equal(helpOf('--help'), usageOf(commands));
    for (const [name, { does }] of Object.entries(commands)) {
      assert.match(helpOf('-h'), new RegExp(`^  berth ${name}\\b.* {2,}${does}$`, 'm'));
    }
    assert.ok(
      Math.max(
        ...helpOf('--help')
          .split('\n')
          .map((line) => line.length),
      ) <= 120,
    );
  });
  for (const [name, { does, takes, flags }] of Object.entries(commands)) {
    test(`berth ${name} --help says what it does, takes and understands, whatever words it was given`, () => {
      const help = helpOf(name, '--help');
      for (const part of [does, ...takes, ...flags.map((flag) => `--${flag}`)]) assert.ok(help.includes(part), part);
      assert.equal(helpOf(name, 'a', 'b', 'c', '--help'), help);
    });
  }
});

/** What it says on standard error, and its exit code. */
function berth(...args: string[]): string {
  const { status, stderr } = spawnSync(process.execPath, [main, ...args], { encoding: 'utf8' });
  return `${status}: ${stderr}`;
}

describe('what goes wrong is said in a line with the next step', () => {
  const config = join(folder, 'config.toml');
  const socket = join(folder, 'berth.sock');
  writeFileSync(config, `socket = "${socket}"\n`);

  test('a command line that means nothing: exit code 2', () => {
    assert.match(berth('trase', 'x'), /^2: berth: There is no command "trase": did you mean trace\?.*\n$/);
  });
  test('the version', () => {
    for (const arg of ['version', '--version']) {
      const { status, stdout } = spawnSync(process.execPath, [main, arg], { encoding: 'utf8' });
      assert.equal(status, 0);
      assert.match(stdout, /^berth \d+\.\d+\.\d+\S*\n$/);
    }
  });
  test('no such configuration: exit code 1', () => {
    assert.match(berth('config', '--config', '/nowhere'), /^1: berth: There is no configuration \/nowhere: .*\n$/);
  });
  test('no daemon, and no socket', () => {
    const said = berth('pulls', '--config', config);
    assert.match(
      said,
      /^1: berth: Berth is not running here: there is no .*berth\.sock\. Start it with: berth serve.*\n$/,
    );
  });
  test('a socket that a daemon left which was killed', () => {
    const script = `require('net').createServer().listen(${JSON.stringify(socket)}, () => process.kill(process.pid, 'SIGKILL'))`;
    spawnSync(process.execPath, ['-e', script]);
    assert.match(berth('gc', '--config', config), /^1: berth: Berth is not running: nobody listens at .*\n$/);
    rmSync(socket);
  });
  test("a socket that is root's", () => {
    const closed = join(folder, 'closed');
    mkdirSync(closed);
    chmodSync(folder, 0o755);
    writeFileSync(config, `socket = "${join(closed, 'berth.sock')}"\n`);
    chmodSync(closed, 0);
    // Root is refused nothing.
    const options = process.getuid?.() === 0 ? { uid: 65534, gid: 65534 } : {};
    const { stderr } = spawnSync(process.execPath, [main, 'pulls', '--config', config], {
      encoding: 'utf8',
      ...options,
    });
    assert.match(stderr, /^berth: No permission for .*berth\.sock, which is root's: run this as root, with sudo\n$/);
  });

  test('a daemon, or a configuration, for who is not root', () => {
    const stranger = (...args: string[]) => {
      // Root is refused nothing.
      const options = process.getuid?.() === 0 ? { uid: 65534, gid: 65534 } : {};
      return spawnSync(process.execPath, [main, ...args], { encoding: 'utf8', ...options }).stderr;
    };
    assert.match(stranger('serve', '--config', config), /^berth: berth serve makes .*: run it as root, with sudo\n$/);
    const closed = join(folder, 'closed.toml');
    writeFileSync(closed, '', { mode: 0 });
    const said = stranger('config', '--config', closed);
    assert.match(said, /^berth: Cannot read configuration .*closed\.toml: EACCES.*: run this as root, with sudo\n$/);
  });
  test('standard output for a command that writes a file', () => {
    for (const args of [
      ['bundle', '-'],
      ['save', 'x', '-'],
    ])
      assert.match(
        berth(...args, '--config', config),
        /^1: berth: It is written to a file, not to standard output: .*\n$/,
      );
  });

  const fails = (code: number, details: string) => async () => {
    throw Object.assign(new Error(`${code} SOMETHING: ${details}`), { code, details });
  };
  test('what the daemon itself says is shown as it says it, also that something else is not to be had', async () => {
    await assert.rejects(askDaemon(socket, fails(5, 'No pod "x"')), { message: 'No pod "x"' });
    const server = createServer().listen(socket);
    await once(server, 'listening');
    await assert.rejects(askDaemon(socket, fails(14, 'The registry is silent')), { message: 'The registry is silent' });
    server.close();
  });
  test('what is no error of a call stays what it is', async () => {
    const error = new RangeError('a mistake of ours');
    await assert.rejects(
      askDaemon(socket, () => Promise.reject(error)),
      error,
    );
  });
});
