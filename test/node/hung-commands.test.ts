// A file system that hangs, hangs no command: each says in time which path it is.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { text } from 'node:stream/consumers';
import { after, before, test } from 'node:test';
import { commands } from '../../src/commands/index.ts';
import { Hung } from '../harness/hung.ts';
import { ownHost } from '../harness/own-host.ts';

await ownHost();

const main = resolve(import.meta.dirname, '../../src/main.ts');
/** Short, as names of sockets have to be. */
const dir = mkdtempSync('/run/h-');
const at = join(dir, 'hung');
let hung: Hung;
before(async () => {
  hung = await Hung.at(at, { taking: true });
});
after(async () => {
  await hung[Symbol.asyncDispose]();
  rmSync(dir, { recursive: true });
});

/** A folder of its own with a configuration of these lines. */
function configured(lines: string): string {
  const file = join(mkdtempSync(join(dir, 'config-')), 'config.toml');
  writeFileSync(file, lines);
  return file;
}
const here = join(dir, 'here');
mkdirSync(here);

/** How a command ends that is given a minute. */
async function berth(...args: string[]): Promise<{ status: number | null; said: string }> {
  const child = spawn(process.execPath, [main, ...args], { stdio: ['ignore', 'pipe', 'pipe'], timeout: 60_000 });
  const end = once(child, 'exit');
  const [out, error] = await Promise.all([text(child.stdout), text(child.stderr), end]);
  return { status: (await end)[0], said: out + error };
}

const silent = (path: string, seconds = 5) => new RegExp(`${path}: what holds it does not answer in ${seconds} s`);
/** One word for each that a command takes. */
const words = (name: string) => commands[name]!.takes.map((each) => (each === 'FILE' ? join(here, 'file') : 'word'));
const reading = Object.keys(commands).filter((name) => commands[name]!.flags.includes('config'));

test('where the configuration is', async () => {
  const answers = await Promise.all(reading.map((name) => berth(name, ...words(name), '--config', `${at}/c.toml`)));
  for (const [index, { status, said }] of answers.entries()) {
    assert.match(said, silent(`${at}/c.toml`, reading[index] === 'serve' ? 20 : 5), reading[index]!);
    assert.equal(status, reading[index] === 'doctor' ? 2 : 1, reading[index]!);
  }
});

test('where a file of the folder of drop-ins leads', async () => {
  const config = configured('');
  mkdirSync(`${config}.d`);
  symlinkSync(`${at}/10.toml`, `${config}.d/10.toml`);
  assert.match((await berth('config', '--config', config)).said, silent(`${config}.d`));
});

test('where the socket is, or the folder of sockets', async () => {
  const asking = ['load', 'save', 'pulls', 'trace', 'reload', 'gc'];
  const config = configured(`socket = "${at}/s"`);
  const other = configured(`socket = "${here}/s"\nrun_dir = "${at}"`);
  const answers = await Promise.all([
    ...asking.map((name) => berth(name, ...words(name), '--config', config)),
    berth('config', '--running', '--config', config),
    berth('pulls', '--config', other),
  ]);
  for (const [index, { status, said }] of answers.entries()) {
    assert.match(said, silent(index < answers.length - 1 ? `${at}/s` : at), asking[index] ?? 'config');
    assert.equal(status, 1);
  }
});

test('what is loaded or written', async () => {
  const config = configured(`run_dir = "${here}"\nsocket = "${here}/s"`);
  const answers = await Promise.all(
    [
      ['load', `${at}/f`],
      ['save', 'image', `${at}/f`],
      ['bundle', `${at}/f`],
      ['trace', 'pod', '--svg', `${at}/f`],
    ].map((args) => berth(...args, '--config', config)),
  );
  for (const { status, said } of answers) {
    assert.match(said, silent(`${at}/f`));
    assert.equal(status, 1);
  }
});

test('a bundle is written without a socket that answers', async () => {
  const config = configured(`socket = "${at}/s"\nrun_dir = "${here}/run"\ndata_dir = "${here}/data"`);
  const { status, said } = await berth('bundle', join(here, 'node.tar.gz'), '--config', config);
  assert.deepEqual([status, /look through it/.test(said)], [0, true], said);
});

test('what a daemon cannot be without', async () => {
  const each = ['data_dir', 'run_dir', 'socket', 'cni.netns_dir', 'cni.cache_dir', 'handlers.crun.path'];
  const answers = await Promise.all(
    each.map((key) => {
      const usual = ['data_dir', 'run_dir', 'socket'].filter((name) => name !== key);
      const lines = usual.map((name) => `${name} = "${here}/${name}"`);
      return berth('serve', '--config', configured([...lines, `${key} = "${at}/x"`].join('\n')));
    }),
  );
  for (const [index, { status, said }] of answers.entries()) {
    assert.match(said, silent(`${at}/x`, 20), each[index]!);
    assert.equal(status, 1);
  }
});
