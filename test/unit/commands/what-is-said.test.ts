// What reaches a terminal or the log is made of what others wrote: files, registries, plugins. None of it acts on a terminal.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, test } from 'node:test';
import { visible } from '../../../src/base/text.ts';
import { columns } from '../../../src/commands/amounts.ts';

const source = resolve(import.meta.dirname, '../../../src');
const dir = mkdtempSync(join(tmpdir(), 'berth-said-'));
after(() => rmSync(dir, { recursive: true }));

const hostile = 'a\u001b[31mb\u009b32mc\u007fd\u0085e\u202ef\u2028g\r';
const acts = /[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e]/;

function berth(args: readonly string[], env: Record<string, string> = {}) {
  const options = { encoding: 'utf8', env: { ...process.env, ...env } } as const;
  return spawnSync(process.execPath, [join(source, 'main.ts'), ...args], options);
}
function configured(text: string): string {
  const file = join(dir, 'config.toml');
  writeFileSync(file, text);
  return file;
}

test('an error that quotes a file only shows it', () => {
  const { stderr, status } = berth(['config', '--config', configured('log_level = "a\\u001b[31mb\\u009b32mc"\n')]);
  assert.equal(status, 1);
  assert.doesNotMatch(stderr, acts);
  assert.match(stderr, /log_level = "a\\u001b\[31mb\\u009b32mc" must be/);
});

test('a cell of a table is one line', () => {
  assert.equal(columns([[`${hostile}\n`, 'next']]), `${visible(`${hostile}\n`)}  next\n`);
  assert.doesNotMatch(columns([[`${hostile}\n`]]), acts);
});

test('a line of the log is the document that it was, without the bytes', () => {
  const script = `import { log } from '${source}/base/log.ts'; log.info({ reason: JSON.parse(process.env.REASON) }, 'm');`;
  const env = { ...process.env, REASON: JSON.stringify(`${hostile}\n`) };
  const { stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8', env });
  assert.equal(stderr.split('\n').length, 2);
  assert.doesNotMatch(stderr, acts);
  assert.equal(JSON.parse(stderr).reason, `${hostile}\n`);
});

test('where nothing can be written the daemon goes on, and a command says so', () => {
  const script = `import { log } from '${source}/base/log.ts'; log.info('m'); log.info('n'); process.exitCode = 7;`;
  const full = openSync('/dev/full', 'w');
  const stdio = (fd: 1 | 2) => ['ignore', fd === 1 ? full : 'pipe', fd === 2 ? full : 'pipe'] as const;
  const logs = spawnSync(process.execPath, ['--input-type=module', '-e', script], { stdio: [...stdio(2)] });
  assert.equal(logs.status, 7);
  const asked = spawnSync(process.execPath, [join(source, 'main.ts'), 'version'], { stdio: [...stdio(1)] });
  closeSync(full);
  assert.deepEqual(
    [asked.status, String(asked.stderr)],
    [1, 'berth: Standard output cannot be written: ENOSPC: no space left on device, write\n'],
  );
});

test('a reader that went away has what it wanted', () => {
  const script = `(sleep 0.1; "$0" "$1" config --config "$2"; echo "ended $?" >&2) | true`;
  const args = ['-c', script, process.execPath, join(source, 'main.ts'), configured('')];
  assert.equal(spawnSync('/bin/sh', args, { encoding: 'utf8' }).stderr, 'ended 0\n');
});

test('a level that is none is refused by the daemon, and no matter to others', () => {
  const env = { BERTH_LOG: 'loud' };
  assert.match(berth(['version'], env).stdout, /^berth \d/);
  const file = configured(`socket = "${dir}/s"\ndata_dir = "${dir}/d"\n`);
  const { stderr, status } = berth(['serve', '--config', file], env);
  assert.equal(status, 1);
  assert.equal(stderr, 'berth: BERTH_LOG = "loud" in the environment must be debug or info or warn or error\n');
});
